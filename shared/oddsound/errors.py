"""Every failure that a caller may want to tell apart.

AudioAnomalyError
├── InvalidAudioError        this recording cannot be scored, however often it is sent
├── UnsupportedAudioError    these bytes are not a recording in a supported format
├── AudioTooLargeError       the recording is over a limit; the text names the limit
├── UnknownModelError        models.json has no such model; the text lists those it has
├── ModelsConfigError        models.json or an environment variable cannot be used
├── ModelArtifactError       a file of a model is missing or has another checksum
├── InvalidJobError          this message names no recording, however often it is sent
├── RecordingNotFoundError   the object was deleted before it was read
├── ResultNotFoundError      no result of this recording is stored, or not yet
├── UnknownMachineError      no machine of that id is registered
├── InvalidMachineError      this text cannot be the id of a machine
├── InvalidStateError        the state of the machine does not allow this; the text says why
├── NotificationError        a webhook or MQTT broker did not take a notice; it is sent again
├── NotConfiguredError       a setting that this request needs is missing; the text names it
└── StorageError             AWS or a file of ours refused or timed out; a retry may succeed
"""


class AudioAnomalyError(Exception):
    """The base class of this library's errors."""


class InvalidAudioError(AudioAnomalyError):
    """This recording cannot be scored, however often it is sent."""


class UnsupportedAudioError(AudioAnomalyError):
    """These bytes are not a recording in a supported format.

    convertible : whether they are a recording in another format
    """

    def __init__(self, text: str, *, convertible: bool = False) -> None:
        super().__init__(text)
        self.convertible = convertible


class AudioTooLargeError(AudioAnomalyError):
    """The recording is over a limit: bytes, duration, samples or memory.

    setting : name of the setting that the limit comes from, or None
    """

    def __init__(self, text: str, *, setting: str | None = None) -> None:
        super().__init__(text)
        self.setting = setting


class UnknownModelError(AudioAnomalyError):
    """No model of that name is configured."""


class ModelsConfigError(AudioAnomalyError):
    """The configuration is missing, not JSON, or has an invalid value."""


class ModelArtifactError(AudioAnomalyError):
    """A file of a model is missing, altered, or cannot be used in this environment."""


class InvalidJobError(AudioAnomalyError):
    """A message or event that names no recording, or has another form than documented."""


class RecordingNotFoundError(AudioAnomalyError):
    """The object that holds the recording was deleted before it was read."""


class ResultNotFoundError(AudioAnomalyError):
    """No result of the recording is stored, or not yet."""


class UnknownMachineError(AudioAnomalyError):
    """No machine of that id is registered."""


class InvalidMachineError(AudioAnomalyError, ValueError):
    """A text that cannot be the id of a machine."""


class InvalidStateError(AudioAnomalyError):
    """The state of the machine does not allow what was asked for."""


class NotificationError(AudioAnomalyError):
    """A webhook or an MQTT broker did not take a notice; it is sent again later."""


class NotConfiguredError(AudioAnomalyError):
    """A setting is missing that this part of the service needs."""


class StorageError(AudioAnomalyError):
    """AWS, or the file of the history, refused or timed out; the same call may succeed later.

    code : the error code of AWS, such as NoSuchBucket, or None
    """

    def __init__(self, text: str, code: str | None = None) -> None:
        super().__init__(text)
        self.code = code

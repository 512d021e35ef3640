"""Every failure that has a name.

AudioAnomalyError
├── InvalidAudioError        this recording cannot be scored, however often it is sent
├── UnsupportedAudioError    these bytes are not a recording in a format that is read here
├── AudioTooLargeError       over a limit; the text names the limit
├── UnknownModelError        models.json has no such model; the text lists those it has
├── ModelsConfigError        models.json, or what stands in for it, cannot be used
├── ModelArtifactError       missing, or not the bytes that its checksum promises
├── InvalidJobError          this message names no recording, however often it is sent
├── RecordingNotFoundError   the object was gone before it was read
├── ResultNotFoundError      no result of this recording is stored, or not yet
├── NotConfiguredError       a setting that this way in needs is missing; the text names it
└── StorageError             AWS refused or timed out; a retry may succeed
"""


class AudioAnomalyError(Exception):
    """The root of all failures that a caller may want to tell apart."""


class InvalidAudioError(AudioAnomalyError):
    """This recording cannot be scored, however often it is sent."""


class UnsupportedAudioError(AudioAnomalyError):
    """These bytes are not a recording in a format that is read here."""


class AudioTooLargeError(AudioAnomalyError):
    """The recording is over a limit of size or duration."""


class UnknownModelError(AudioAnomalyError):
    """No model of that name is configured."""


class ModelsConfigError(AudioAnomalyError):
    """The model configuration is missing, not JSON, or has a faulty entry."""


class ModelArtifactError(AudioAnomalyError):
    """A file of a model is missing, altered, or cannot serve in this environment."""


class InvalidJobError(AudioAnomalyError):
    """A message or event that names no recording, or not in the agreed words."""


class RecordingNotFoundError(AudioAnomalyError):
    """The object with the recording was deleted before it was read."""


class ResultNotFoundError(AudioAnomalyError):
    """No result of the recording is stored, or not yet."""


class NotConfiguredError(AudioAnomalyError):
    """A setting is missing without which this part of the service has nowhere to work."""


class StorageError(AudioAnomalyError):
    """AWS refused or timed out; the same call may succeed later."""

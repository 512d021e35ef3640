"""Rows as DynamoDB stores them: JSON, compressed with a dictionary of what all rows have in common.

DynamoDB charges for the size of items. A row has about 800 bytes of JSON, of which two thirds are
names and phrases that every row has; packed, it has about 260.
"""

import zlib

from oddsound.errors import StorageError
from oddsound.machines.records import HistoryRow

LEVEL = 9

DICTIONARIES = (
    # The most common texts come last. Stored rows are read with it: add another, never change one.
    b"the recording is almost silent ( dB of full scale): check the microphone, or turn the re"
    b"corder upthe samples have a DC offset of  of full scale: check the recorder's inputthe r"
    b"ecording has a drop-out at  s: check the recorder's connection and storagethe anomaly ma"
    b"y come from the recorder, not from the machine: clipping % of the samples are clipped: t"
    b'urn the recorder down"kind":"modulation""kind":"tone""kind":"level""kind":"dropout""kind'
    b'":"timbre","score":1.the level rises and falls by  dB,  times per second, for  s (0 dB i'
    b"s usual)a tone at  kHz for  dB over the neighbouring frequencies (the level falls by the"
    b" level rises by the sound drops out for  ms, 8 dB below the usual levelthe sound is diff"
    b'erent for  s: mainly  dB less between more between  Hz and  kHz"},{"start_s":0.0,"end_s"'
    b':,"kind":"impact","score":2.,"says":"a knock,  dB over the usual level between {"label":'
    b'"normal","note":"","person":"","at":"2026-"label":"fault""label":"unusable""prediction":'
    b'"anomaly","is_anomaly":true,"score":0.99999"source":"http","bucket":null,"key":"http/"so'
    b'urce":"file","bucket":null,"key":"/"score":null,"level":null,"threshold":null{"id":"","m'
    b'achine":"hall-","recorded_at":"2026-11-:00:00Z","scored_at":"2026-12-:000Z","prediction"'
    b':"normal","is_anomaly":false,"score":0.,"level":-0.,"threshold":0.9,"model_name":"","mod'
    b'el_version":"2026-11-28-","source":"s3","bucket":"audio-anomaly-","key":".flac.wav","dur'
    b'ation_s":10.0,"events":[],"warnings":[],"review":null,"profile":{"trained_with":20,"leve'
    b'l":0.,"bands":[-0.,0.,1.,-1.],"time":[-0.,0.,1.,-1.]}}',
)
"""The first byte of a packed row is the place of its dictionary, counted from 1."""


def packed(row: HistoryRow) -> bytes:
    """The row in few bytes."""
    made = zlib.compressobj(LEVEL, wbits=-zlib.MAX_WBITS, zdict=DICTIONARIES[-1])
    content = made.compress(row.model_dump_json().encode()) + made.flush()
    return bytes([len(DICTIONARIES)]) + content


def unpacked(content: bytes) -> HistoryRow:
    """The inverse of `packed`. Raises StorageError if it was packed by a newer version."""
    if not 1 <= content[0] <= len(DICTIONARIES):
        raise StorageError(
            f"a row of the table was written by a newer version of oddsound: it is packed in form"
            f" {content[0]}, this one knows forms 1 to {len(DICTIONARIES)}"
        )
    made = zlib.decompressobj(wbits=-zlib.MAX_WBITS, zdict=DICTIONARIES[content[0] - 1])
    return HistoryRow.model_validate_json(made.decompress(content[1:]) + made.flush())

"""False alarms and detection of the same sound in other files, in noise, and at other lengths."""

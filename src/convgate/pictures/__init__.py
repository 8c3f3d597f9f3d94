"""Pictures in files: archives, decoding, folders, order."""

"""Networks and codecs. They know nothing of files, configurations of runs, or noise."""

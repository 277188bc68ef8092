"""`regraft report`: a plan or a comparison as one file to look at, offline; no service needed."""

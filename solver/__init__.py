"""The integer programs, over plain numbers. Knows nothing of phones, HTTP, torch or SQL."""

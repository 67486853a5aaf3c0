"""The store: a folder of Parquet, written once and never changed."""

"""What is kept: images in Icechunk, tables in Parquet, one snapshot per commit."""

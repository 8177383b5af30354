"""Generated gRPC stubs; made by generate/protos.py, never edited."""

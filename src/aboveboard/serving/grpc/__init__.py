"""The Open Inference Protocol's messages as Python: `open_inference.proto`, and what `protoc` makes of it.

Nothing here is written by hand but the .proto and this docstring; `make proto` makes the rest anew. Only
`serving.oip_grpc` imports it, and only when a gRPC port is asked for (extra `grpc`).
"""

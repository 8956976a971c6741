"""The model as ONNX graphs: written part by part, checked against torch, run without copies."""

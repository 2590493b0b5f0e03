"""From a batch to logits, every quantity named: cells, backbone, network."""

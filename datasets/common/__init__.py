"""What the adapters share: the contract, the prepared cache, sub-sampling and the simulation."""

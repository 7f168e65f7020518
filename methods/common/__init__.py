"""What several methods share: the contract, the registry, encoders, small nets and losses."""

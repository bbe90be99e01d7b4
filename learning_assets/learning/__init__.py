"""The science: frames and numbers in, frames and decisions out. What does not belong here: Dagster, SQL, the network, the clock."""

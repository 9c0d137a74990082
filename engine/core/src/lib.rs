//! The deterministic core: sequencer, partitions, exposure, limits, settlement, fingerprint.

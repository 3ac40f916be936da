//! Fingerprints, manifests, and making sure that a build exists.

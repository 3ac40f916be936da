//! Children: simulators, compilers, installers.

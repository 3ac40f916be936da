//! Simulators as pure functions, and the agent inside the simulator.

"""The machine: keys, files that change, systemd, clocks, signals."""

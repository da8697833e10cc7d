"""The operator's configuration: read and checked, followed live, applied and kept."""

"""The `droveway` command: runs the services, sets up the bus, reads traces, makes keys.

`main` declares the commands and imports their bodies when they are called; `up` composes a whole
gateway on one machine and `supervisor` keeps it alive. Owns the data folder: NKey seeds, the first
client key, the generated configuration, JetStream's files.
"""

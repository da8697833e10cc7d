"""Seeing one request: trace context, spans, logs and the names that all of them use.

`context` carries the trace across hops without the OpenTelemetry SDK; `setup` gives each service
its own telemetry; `spans` hands finished spans to the SDK's exporter; `logs` writes one JSON line
per record, with secrets masked by `redaction`; `names` holds every attribute, span, event and
metric name, as registered in otel/conventions.yaml.
"""

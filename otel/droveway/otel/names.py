"""Every name that leaves Droveway in a span, metric or log line; otel/conventions.yaml explains.

Attributes carry no prefix here; `SPAN_`, `EVENT_`, `METRIC_`, `OTLP_` and `LOG_` mark the rest.
GenAI names are the released ones (opentelemetry-util-genai 1.3b0), messaging and HTTP those of core
1.44.
"""

from typing import Final

# Resource
SERVICE_NAME: Final = "service.name"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
SERVICE_VERSION: Final = "service.version"

# HTTP, network and errors
HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_REQUEST_BODY_SIZE: Final = "http.request.body.size"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
HTTP_ROUTE: Final = "http.route"
URL_PATH: Final = "url.path"
URL_SCHEME: Final = "url.scheme"
USER_AGENT_ORIGINAL: Final = "user_agent.original"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"

# GenAI
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
GEN_AI_OUTPUT_TYPE: Final = "gen_ai.output.type"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
GEN_AI_REQUEST_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
GEN_AI_REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_REQUEST_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
GEN_AI_REQUEST_REASONING_LEVEL: Final = "gen_ai.request.reasoning.level"
GEN_AI_REQUEST_SEED: Final = "gen_ai.request.seed"
GEN_AI_REQUEST_STOP_SEQUENCES: Final = "gen_ai.request.stop_sequences"
GEN_AI_REQUEST_STREAM: Final = "gen_ai.request.stream"
GEN_AI_REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
GEN_AI_REQUEST_TOP_K: Final = "gen_ai.request.top_k"
GEN_AI_REQUEST_TOP_P: Final = "gen_ai.request.top_p"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
GEN_AI_TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"

# Messaging
MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_OPERATION_NAME: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_DESTINATION_NAME: Final = "messaging.destination.name"
MESSAGING_DESTINATION_TEMPLATE: Final = "messaging.destination.template"
MESSAGING_CONSUMER_GROUP_NAME: Final = "messaging.consumer.group.name"
MESSAGING_CLIENT_ID: Final = "messaging.client.id"
MESSAGING_MESSAGE_ID: Final = "messaging.message.id"
MESSAGING_MESSAGE_CONVERSATION_ID: Final = "messaging.message.conversation_id"
MESSAGING_MESSAGE_BODY_SIZE: Final = "messaging.message.body.size"

# Our own
DROVEWAY_REQUEST_ID: Final = "droveway.request.id"
DROVEWAY_TENANT_ID: Final = "droveway.tenant.id"
DROVEWAY_KEY_ID: Final = "droveway.key.id"
DROVEWAY_DOOR: Final = "droveway.door"
DROVEWAY_OUTCOME: Final = "droveway.outcome"
DROVEWAY_ROUTE: Final = "droveway.route"
DROVEWAY_TARGET: Final = "droveway.target"
DROVEWAY_CHANNEL: Final = "droveway.channel"
DROVEWAY_CONFIG_VERSION: Final = "droveway.config.version"
DROVEWAY_CREDENTIAL: Final = "droveway.credential"
DROVEWAY_ATTEMPT: Final = "droveway.attempt"
DROVEWAY_ATTEMPTS: Final = "droveway.attempts"
DROVEWAY_CONTINUATIONS: Final = "droveway.continuations"
DROVEWAY_MALFORMED_EVENTS: Final = "droveway.malformed_events"
DROVEWAY_COMMITTED: Final = "droveway.committed"
DROVEWAY_LIMIT_DECISION: Final = "droveway.limit.decision"
DROVEWAY_LIMIT_SCOPE: Final = "droveway.limit.scope"
DROVEWAY_LIMIT_KIND: Final = "droveway.limit.kind"
DROVEWAY_QUEUE_WAIT_MS: Final = "droveway.queue.wait_ms"
DROVEWAY_LATE: Final = "droveway.late"

# Spans; templates are filled by str.format
SPAN_SERVER: Final = "{method} {route}"
SPAN_REQUEST: Final = "request {operation}"
SPAN_ENQUEUE: Final = "enqueue"
SPAN_ROUTE: Final = "route"
SPAN_ATTEMPT: Final = "attempt {attempt}"
SPAN_INFERENCE: Final = "{operation} {model}"

# Span events
EVENT_QUEUE_WAIT: Final = "queue.wait"
EVENT_LIMIT: Final = "limit"
EVENT_COMMIT: Final = "commit"
EVENT_FIRST_TOKEN: Final = "first_token"  # noqa: S105
EVENT_LAST_TOKEN: Final = "last_token"  # noqa: S105

# Metrics of the Prometheus pages
METRIC_REQUESTS: Final = "ai_api_requests_total"
METRIC_ERRORS: Final = "ai_api_errors_total"
METRIC_REQUEST_DURATION: Final = "ai_api_request_duration_seconds"
METRIC_TIME_TO_FIRST_TOKEN: Final = "ai_api_time_to_first_token_seconds"  # noqa: S105
METRIC_TIME_PER_OUTPUT_TOKEN: Final = "ai_api_time_per_output_token_seconds"  # noqa: S105
METRIC_OVERHEAD: Final = "ai_api_overhead_seconds"
METRIC_INFLIGHT: Final = "ai_api_inflight"
METRIC_LIMIT_REJECTIONS: Final = "ai_api_limit_rejections_total"
METRIC_QUEUE_DEPTH: Final = "ai_api_queue_depth"
METRIC_QUEUE_WAIT: Final = "ai_api_queue_wait_seconds"
METRIC_DESTINATION_UP: Final = "ai_api_destination_up"
METRIC_TOKENS: Final = "ai_api_tokens_total"
METRIC_COST: Final = "ai_api_cost_total"
METRIC_COST_CNY: Final = "ai_api_cost_cny_total"
METRIC_UNPRICED_TOKENS: Final = "ai_api_unpriced_tokens_total"
METRIC_UPSTREAM_REQUESTS: Final = "ai_api_upstream_requests_total"
METRIC_UPSTREAM_DURATION: Final = "ai_api_upstream_duration_seconds"
METRIC_FAILOVERS: Final = "ai_api_failovers_total"
METRIC_RECORDED_REQUESTS: Final = "droveway_recorded_requests_total"
METRIC_TENANT_COST: Final = "droveway_tenant_cost_usd_total"
METRIC_BUDGET_EVENTS: Final = "droveway_budget_events_total"

# Metrics by OTLP; the second ones of a pair under OTEL_SEMCONV_STABILITY_OPT_IN
OTLP_CLIENT_DURATION: Final = "gen_ai.client.operation.duration"
OTLP_CLIENT_DURATION_LATEST: Final = "gen_ai.client.inference.duration"
OTLP_CLIENT_TOKENS: Final = "gen_ai.client.token.usage"
OTLP_CLIENT_INPUT_TOKENS: Final = "gen_ai.client.inference.usage.input_tokens"
OTLP_CLIENT_OUTPUT_TOKENS: Final = "gen_ai.client.inference.usage.output_tokens"
OTLP_CLIENT_CACHE_READ_TOKENS: Final = "gen_ai.client.inference.usage.cache_read.input_tokens"
OTLP_CLIENT_CACHE_WRITE_TOKENS: Final = "gen_ai.client.inference.usage.cache_write.input_tokens"
OTLP_CLIENT_REASONING_TOKENS: Final = "gen_ai.client.inference.usage.reasoning.output_tokens"
OTLP_CLIENT_OPERATION_INPUT_TOKENS: Final = "gen_ai.client.inference.operation.input_tokens"
OTLP_CLIENT_OPERATION_OUTPUT_TOKENS: Final = "gen_ai.client.inference.operation.output_tokens"
OTLP_CLIENT_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
OTLP_CLIENT_FIRST_CHUNK_LATEST: Final = "gen_ai.client.inference.time_to_first_chunk"
OTLP_CLIENT_PER_CHUNK: Final = "gen_ai.client.operation.time_per_output_chunk"
OTLP_CLIENT_PER_CHUNK_LATEST: Final = "gen_ai.client.inference.time_per_output_chunk"
OTLP_SERVER_DURATION: Final = "gen_ai.server.request.duration"
OTLP_SERVER_FIRST_TOKEN: Final = "gen_ai.server.time_to_first_token"  # noqa: S105
OTLP_SERVER_PER_TOKEN: Final = "gen_ai.server.time_per_output_token"  # noqa: S105

# Log events
LOG_REQUEST: Final = "request"
LOG_RECORDS_DROPPED: Final = "log_records_dropped"

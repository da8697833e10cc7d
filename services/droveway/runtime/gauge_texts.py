"""What each gauge and counter of ours means: the help text beside its value.

By noun and field of the snapshots that `Gauges` exposes; docs/guides/metrics.md says the same.
"""

TEXTS: dict[str, dict[str, str]] = {
    "bus": {
        "connected": "1 while there is a connection to NATS.",
        "last_beat_s": (
            "Seconds since the process last heard itself through NATS; over 3 it is not ready."
        ),
        "unsent_bytes": "Bytes that wait for NATS.",
        "waiting_answers": "Questions on the bus without an answer yet.",
        "open_inboxes": "Reply subjects in use.",
        "reconnects": "Reconnects to NATS.",
        "malformed": "Messages that NATS delivered in a form that could not be read.",
    },
    "config": {
        "reloaded": "Configurations taken over without a restart.",
        "rejected": (
            "Configurations, of the file or applied, that were refused while the last good one "
            "stayed in force."
        ),
        "shadowed_files": (
            "Changes of the configuration file while an applied configuration held in its place."
        ),
        "revision": "Revision of the applied configuration in force; 0: the file holds.",
    },
    "adoption": {
        "versions": "Configurations whose providers are kept for requests routed by them.",
        "versions_limit": "The bound of configurations that are kept.",
        "retired": "Providers of configurations before those, whose last calls run.",
        "waiting": "Calls that wait for a configuration which their router has adopted already.",
        "waiting_limit": "The bound of calls that wait for a configuration.",
        "expired": "Calls whose configuration did not come in time; the present one served them.",
        "refused_full": "Calls that did not wait for their configuration, since too many did.",
    },
    "secret": {
        "files": "Files of secrets and authorities that are followed.",
        "changes": "Secrets and authorities that were replaced, since their files had changed.",
        "failed": "Files of secrets or authorities that could not be read any more, each time.",
        "bad": "The same that cannot be read now: what was good last is in use.",
    },
    "prices": {
        "stored": (
            "Values of the price book that were published, since they differed from what stood in "
            "the bucket."
        ),
        "failed": "Rounds in which the bucket of prices did not answer; each is repeated.",
    },
    "discovery": {
        "handled": "Questions which services run that were answered.",
        "refused": (
            "Questions which services run whose answer would have gone elsewhere than to an "
            "operator."
        ),
        "dropped": "Questions which services run beyond the bound of answers per second.",
    },
    "events": {
        "exported": "Events that were told on the bus.",
        "dropped": "Events that were left out: too many in a second, or no connection.",
    },
    "consumer": {
        "running": "Messages being handled.",
        "limit": "The bound of messages being handled.",
        "handled": "Messages that were taken.",
        "refused_full": "Messages refused since the bound was reached.",
        "malformed": "Messages that could not be decoded.",
        "failed": "Handlers that ended with an unforeseen exception: a bug.",
    },
    "relay": {
        "sending": (
            "Answers and bodies being sent, finished ones that may be asked for again included."
        ),
        "receiving": "Answers and bodies being received.",
        "blocked": "Senders that wait for their receiver.",
        "kept_bytes": "Bytes kept for a resend.",
        "held_bytes": "Bytes received that wait to be taken, or for the frame before them.",
        "dropped_frames": (
            "Frames dropped: repeated, of another attempt, out of range, or after the terminal."
        ),
        "overruns": "Frames dropped since their sender went beyond the credit it was given.",
        "peers": "Processes that share a relay with this one.",
        "peers_dead": "Processes that fell silent or were gone.",
        "malformed": "Control messages that could not be read.",
    },
    "stored_responses": {
        "limit_bytes": "The bound of one stored response with its conversation.",
        "stored": "Responses stored.",
        "stored_bytes": "Bytes of responses stored, since the process began.",
        "too_large": "Responses over the bound: answered with a warning, not stored.",
        "failed": "Responses that the bucket didn't take.",
        "found": "Stored responses that were asked for and found.",
        "missed": "Stored responses that were asked for, and there was none of that key.",
        "deleted": "Stored responses that were deleted by their key.",
    },
    "spool": {
        "waiting": "Usage rows not sent yet.",
        "unacknowledged": "Usage rows sent and not stored yet.",
        "limit": "The bound of usage rows not sent or not stored yet.",
        "stored": "Usage rows stored.",
        "failed": "Rows that were refused or not confirmed in time, each time; they are repeated.",
    },
    "door": {
        "open_requests": "Requests to models in flight.",
        "limit": "The bound of requests to models in flight.",
        "held_bytes": "Bytes of request bodies in flight.",
        "held_bytes_limit": (
            "The bound of bytes of request bodies in flight, for bodies over 256 KiB."
        ),
    },
    "client_relay": {
        "open": "Answers in frames to clients on the bus.",
        "blocked": "Answers in frames to clients on the bus that wait for credit.",
        "lingering": "Ended answers whose last frames can still be sent again.",
        "lingering_bytes": "Bytes of the frames of ended answers that can still be sent again.",
        "left": "Answers whose client on the bus cancelled, went away or stood still.",
        "invalid": (
            "Control messages that could not be read, or named no answer of their sender's key."
        ),
    },
    "nats_door": {
        "unanswerable": (
            "Requests over the bus whose reply subject is no inbox of their key; dropped."
        ),
        "refused_full": "Requests over the bus beyond `DROVEWAY_GATEWAY_MAX_OPEN_REQUESTS`.",
    },
    "key_share": {
        "largest": "Open requests over the bus of the key that has most.",
        "limit": "The bound of one key's open requests, `DROVEWAY_GATEWAY_MAX_KEY_OPEN_REQUESTS`.",
        "refused": "Requests over the bus beyond a key's share.",
    },
    "key_rate": {
        "refused": "Requests over the bus beyond one key's rate that were told so.",
        "dropped": "Requests over the bus beyond twice one key's rate, which get no answer.",
    },
    "auth": {
        "accepted": "Requests with a good key.",
        "rejected": "Requests with an unknown key, or none.",
        "throttled_addresses": "Client addresses whose failed logins are remembered.",
    },
    "router": {
        "in_flight": "Requests that the router owns: taken, not committed yet.",
        "accepted": "Requests taken.",
        "repeated": "Requests that a gateway asked about again.",
        "committed": "Requests for which an attempt committed.",
        "refused": "Requests refused, by a limit or since no target served them.",
        "tried": "Attempts dispatched.",
        "lost": (
            "Requests given up since the router couldn't say that it lives for 4 s: their doors "
            "ask another one."
        ),
        "stale": "Requests dropped since they had come while the process stood still.",
        "misaddressed": "Requests that named no inbox of a door to answer to.",
    },
    "cooldowns": {
        "callers": "Callers whose news of credentials are known.",
        "cooling": "Credentials that come last for now, since a provider limited or refused them.",
        "refused": "Times that a request was not sent on, since all its targets cooled.",
        "malformed": "News of credentials that could not be read.",
    },
    "admission": {
        "malformed": "Questions that could not be decoded.",
        "refused": "Questions from who may not ask; none is answered.",
    },
    "limiter": {
        "admitted": "Requests admitted.",
        "denied": "Requests denied.",
        "repeated": "Questions asked again, which got their first answer and counted once.",
        "held": "Questions by a router about a request that another router has.",
        "taken_over": "Requests of a dead router that passed to another one.",
        "remembered": "Decisions kept for questions that are asked again.",
        "keys": "Client keys known.",
        "reserved": "Requests with something reserved.",
        "settled": "Attempts that were settled by what they used.",
        "expired": "Requests settled by estimate, since their lease ran out.",
        "unpriced": "Rows of USAGE of a provider without prices.",
    },
    "partition": {
        "owner": (
            "1 where the limits' log is owned, 0 at a standby, which has no `droveway_limiter_…`."
        ),
        "ready": "1 at the owner, and at a standby that follows it closely.",
        "sequence": "Of the last batch in the log that it appended or read.",
        "lag_s": "For how long a standby knows of batches that it hasn't read.",
        "remembered": "Messages that a standby keeps for the case that it takes over.",
        "pending": "Decisions that aren't in the log yet, and answers that wait for them.",
        "takeovers": "Times that it became the owner.",
        "fenced": "Times that somebody else had taken over from it.",
        "lost": "Times that it lost the log with the connection.",
        "appends": "Batches appended.",
        "appended_ops": "Operations in the batches that were appended.",
        "batch_ops": "Operations in the last batch.",
        "commit_s": "Seconds from sending an append to its answer, all together.",
        "doubts": "Appends that were sent again, since no answer came.",
        "refused_full": "Messages left undone since too much was pending.",
        "unsent": "Answers that could not be sent.",
        "snapshot_age_s": "Seconds since a snapshot was stored, or seen.",
    },
    "snapshots": {
        "stored": "Snapshots written.",
        "stored_bytes": "Bytes of the snapshots written.",
        "failed": "Snapshots that were overtaken, refused, not answered, or can't be read.",
    },
    "spend": {
        "sequence": "Of USAGE: the rows up to it are counted as money.",
        "rows": "Rows of attempts counted.",
        "malformed": "Rows that could not be decoded.",
        "failed": "Reads of USAGE that were not answered; each is repeated.",
    },
    "directory": {
        "keys": "Keys in force, of the file and of the bucket.",
        "tenants": "Tenants in force.",
        "unreadable": "Values of the bucket that were not understood; those before stay in force.",
        "shadowed": (
            "Entries of the bucket that aren't in force, since the file or another key has the "
            "same."
        ),
        "age_s": "Seconds since the bucket of keys was last known to be as told; -1: not read yet.",
    },
    "kv": {
        "keys": "Keys of a followed bucket.",
        "revision": "The last revision of a followed bucket that was seen.",
        "loads": "Times that a followed bucket was read whole.",
        "changes": "Changes of a followed bucket that were told.",
        "refused": "Values of a followed bucket that were too big, and keys beyond the bound.",
        "failed": "Reads of a followed bucket that were not answered; each is repeated.",
        "age_s": "Seconds since the bucket was last known to be as told; -1: not loaded yet.",
    },
    "leases": {
        "open": "Attempts that run with something reserved at the limiter; renewed each second.",
        "settled": "Attempts whose use was told to the limiter.",
        "unsent": (
            "Renewals and settlements that NATS didn't take; such a reservation is settled when "
            "its lease is over, or by its row."
        ),
    },
    "caller": {
        "in_flight": "Attempts that run.",
        "committed": "Attempts that reached their first content, or their whole answer.",
        "failed": "Attempts that failed, before or after that.",
        "refused": "Attempts answered `Busy`.",
        "stale": "Calls dropped since they had come while the process stood still.",
        "malformed": "Events of providers' streams that could not be read and were skipped.",
        "misaddressed": "Calls that named no inbox of a router and a door to answer to.",
    },
    "upstream": {
        "in_flight": "Attempts that run at one provider.",
        "limit": "The bound of attempts that run at one provider, its `max_in_flight`.",
        "connections_open": "Connections to the provider, idle ones included.",
        "connections_waiting": "Calls that wait for a connection.",
    },
    "credential": {
        "cooldown_seconds": (
            "For how long this caller sends nothing under a credential, since the provider limited "
            "or refused it; 0: it may be used."
        ),
        "remaining_requests": (
            "Requests that the provider said are left; NaN when it didn't say, or its limit is "
            "whole again."
        ),
        "remaining_tokens": (
            "Tokens that the provider said are left, of several limits the scarcest; NaN as for "
            "requests."
        ),
    },
    "usage": {
        "rows": "Usage rows that this process has newly counted.",
        "repeated": "Rows that the stream had once more and that counted once.",
        "invalid": "Rows of USAGE that can't be read; they are given up.",
        "connected": "1 while the stream of rows answers.",
        "lag_rows": "Messages of USAGE, of a row or more, that aren't counted yet.",
    },
    "spans": {
        "recorded": "Spans taken in.",
        "exported": "Spans that the endpoint confirmed.",
        "failed": "Spans that the endpoint refused or did not confirm in time.",
        "dropped": "Spans not taken in since the queue was full.",
        "waiting": "Spans queued or being sent.",
        "limit": "The bound of spans queued or being sent, `OTEL_BSP_MAX_QUEUE_SIZE`.",
    },
    "otlp": {
        "recorded": "Requests, or attempts, that were measured for OTLP.",
        "exported": "Exports of metrics that the endpoint confirmed.",
        "failed": "Exports of metrics that it refused or did not confirm in time.",
    },
    "stream": {
        "answering": "1 while JetStream answers about the stream.",
        "age_s": "Seconds since JetStream last answered about the stream; -1: not yet.",
        "messages": "Messages in the stream.",
        "limit_messages": "The bound of messages in the stream; +Inf without one.",
        "bytes": "Bytes of the stream.",
        "limit_bytes": "The bound of bytes of the stream; +Inf without one.",
        "first_sequence": "The sequence of the oldest message in the stream.",
        "last_sequence": "The sequence of the newest message that the stream took.",
        "consumers": "Consumers of the stream; Droveway makes none.",
    },
    "costs": {
        "prices": "Prices that were looked up for the cheapest target since one last changed.",
        "limit": "The bound of prices that are remembered.",
    },
    "health": {
        "targets": "Targets whose attempts are watched.",
        "limit": "The bound of targets that are watched.",
        "opened": "Targets that are left alone now, since their attempts failed.",
        "spared": "Requests that went elsewhere, since a target was left alone.",
        "probes": "Attempts that tried whether a target which was left alone works again.",
    },
    "queue": {
        "waiting": "Requests that wait for room at a provider or in their client's limits.",
        "limit": "The bound of requests that wait.",
        "tokens": "Tokens of the requests that wait, input and output.",
        "tokens_limit": "The bound of tokens of requests that wait.",
        "called": "Times that a request which waited looked whether there was room.",
        "passed": "Requests that found room after they had waited.",
        "refused_full": "Requests refused since the queue was full.",
        "refused_late": "Requests refused at once, since their turn would not have come in time.",
        "expired": "Requests whose time was over while they waited.",
    },
    "retry_budget": {
        "credits": "Attempts beyond requests' first ones that could be made now.",
        "tried": "Attempts beyond requests' first ones that were made.",
        "refused": (
            "Attempts beyond requests' first ones that were not made, since the budget was used up."
        ),
    },
    "ledger": {
        "counting": "1 in the one replica that counts rows.",
        "connected": "1 while the database answers.",
        "sequence": "Of USAGE: the rows up to it are in the database.",
        "refused": "Rows that the database took for wrong; they are left out.",
        "failed": "Reads and writes that were repeated, since stream or database did not answer.",
    },
    "audit": {
        "found": (
            "Attempts whose caller died before it told of them, and for which a row was stored."
        ),
        "unanswerable": "Such attempts of which too little is known for a row.",
    },
    "retention": {
        "dropped": "Rows that were let go, older than `DROVEWAY_METRICS_ROWS_KEPT_DAYS`.",
        "dropped_sums": (
            "Hours whose sums were let go, older than `DROVEWAY_METRICS_HOURS_KEPT_DAYS`."
        ),
    },
    "canary": {
        "watched": "Routes whose canary is guarded now.",
        "rolled_back": "Canaries that were rolled back, since they did worse than what is stable.",
        "failed": "Rollbacks of canaries that could not be stored; each is tried again.",
    },
    "report": {
        "answered": "Questions about the ledger that were answered.",
        "refused": (
            "Questions about the ledger that were not answered in time, or not by the database."
        ),
        "unanswerable": (
            "Questions about the ledger whose reply subject is no inbox of those who may ask."
        ),
    },
}

"""The limiter: may this request run now?

Consumes `AdmissionRequested` on `admission.<partition>`; answers `Admitted` or `Denied`. Owns the
sliding windows of every key, in memory: one limiter process is the single writer, so run one.
"""

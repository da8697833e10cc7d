"""The limiter: may this request run now?

Consumes `AdmissionRequested` on `admission.<partition>`; answers `Admitted`, `Denied` or `Held`.
Any number of processes hear each question; one of them owns the partition and answers, after its
decision stands in the stream LIMITS. `decisions` and `book` are pure; `partition` is this process's
role, `standby` or `owner`; `log`, `snapshots` and `spend` are what they read and write.
"""

"""For all tests, those in the SDKs' own environments too, where some packages aren't there."""

import importlib.util
import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background by a shell: what tests start and interrupt would ignore it as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)

if importlib.util.find_spec("hypothesis") is not None:
    from hypothesis import HealthCheck, settings

    # How long an example takes on a busy machine says nothing about what it shows.
    settings.register_profile(
        "droveway", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("droveway")

"""`droveway doctor`: what is broken, since when, and what to do, on one screen.

    asking ─── all questions at once ──▶ Evidence ──▶ checks, each a function ──▶ findings ──▶ view

Nothing is changed and no Prometheus is needed. What doesn't answer is a finding, too.
"""

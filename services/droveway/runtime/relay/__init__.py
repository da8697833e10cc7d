"""Our stream protocol: gap-free frames with credit, resend, cancel and exactly one terminal.

`Sender` numbers frames and runs at most one window ahead; `Receiver` puts them in order and grants
credit as its consumer takes them; `RelayHub` owns both kinds in one process, speaks `control.*` and
exchanges one heartbeat per peer. Source: contracts/relay.
"""

from droveway.runtime.relay.hub import HubStatistics, RelayHub
from droveway.runtime.relay.receiver import Receiver
from droveway.runtime.relay.sender import Sender

__all__ = ["HubStatistics", "Receiver", "RelayHub", "Sender"]

"""Put the machines of --limit back to the release that they ran before: a part of ``kybern upgrade``, which checks them.

pyinfra --limit master-1 inventories/lab.py deploys/rollback.py
"""

from roles.way_back import back

back()

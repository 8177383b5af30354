"""Ship certificates and kubeconfigs, worn ones made anew, and nothing else: a part of ``kybern certificates renew``.

pyinfra inventories/lab.py deploys/certificates.py
"""

from roles.cluster import here
from roles.kubeconfig import kubeconfigs
from roles.pki import pki

cluster, machine = here()

pki(cluster, machine)
kubeconfigs(cluster, machine)

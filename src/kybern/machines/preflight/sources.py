"""Whether packages can come: names are answered, and the package sources are reached. Pure."""

from kybern.machines.preflight.record import Looked, Outcome, failure, passed, warning

# "name HOST" for one that is not answered, "reach HOST:PORT" for one that is not reached.
ASKED = r"""
proxy=$(apt-config dump 2>/dev/null | sed -n 's/^Acquire::http::Proxy "\(.*\)";/\1/p' | head -n 1)
sites=${proxy:-$(apt-get indextargets --format '$(SITE)' 2>/dev/null | sort -u)}
for site in $sites; do
    case $site in http://*) port=80 ;; https://*) port=443 ;; *) continue ;; esac
    host=${site#*://}; host=${host%%/*}
    case $host in *:*) port=${host##*:}; host=${host%:*} ;; esac
    timeout 5 getent hosts $host >/dev/null || { echo name $host; continue; }
    timeout 5 bash -c 'exec 3<>/dev/tcp/$0/$1' $host $port 2>/dev/null || echo reach $host:$port
done
true"""


def sources(looked: Looked) -> Outcome:
    wrong = [line.split() for line in looked.facts.lines("sources")]
    names = [words[1] for words in wrong if words[0] == "name" and len(words) == 2]
    ways = [words[1] for words in wrong if words[0] == "reach" and len(words) == 2]
    if not names and not ways:
        return passed("package sources are reached")
    if names:
        said, remedy = f"no address for {', '.join(names)}", "look at /etc/resolv.conf, and at /etc/apt"
    else:
        said, remedy = f"does not reach {', '.join(ways)}", "look at routes and proxies, and at /etc/apt"
    # Whoever has the packages needs no source, until there are newer ones.
    return warning(said, remedy) if looked.facts["packages"] else failure(said, remedy)

//go:build container

package tests

import (
	"strings"
	"testing"
)

// vlans is a link with an address, and two VLANs on top of it, of which one comes before it.
const vlans = `
version: 1
links:
  - id: storage
    vlan: {id: 102, parent: trunk}
    rename: storage0
    mtu: 1400
    addresses: ["2001:db8:102::10/64"]
  - id: trunk
    match: {name: trunk}
    addresses: [192.0.2.10/24]
  - id: service
    vlan: {id: 101, parent: trunk}
    addresses: [198.51.100.10/24]
    routes: [{to: default, via: 198.51.100.1}]
`

// Where the kernel has no VLANs, the description is refused and nothing stays.
func TestNetinitNoVLANs(t *testing.T) {
	t.Parallel()
	host, guest := newNetwork(t), newNetwork(t)
	host.plug(guest.pid, "gw", "trunk", labMAC)
	if guest.command("ip", "link", "add", "link", "trunk", "name", "probe", "type", "vlan", "id", "9").Run() == nil {
		t.Skip("the kernel has VLANs; a test in the virtual machine uses them")
	}
	guest.ip("link set lo up")
	before := guest.state()
	guest.try("apply", vlans).ends(t, netinitConflict, "vlan 102")
	guest.unchanged(before)
}

// VLANs are made on a link, carry packets, and are removed; one of another program is left.
func TestMachineVLANs(t *testing.T) {
	t.Parallel()
	m := boot(t, `
set -- /modules/*-8021q.ko
[ -e "$1" ] || { tell modules none; exit 0; }
for module in /modules/*.ko; do insmod "$module"; done
unshare -n sleep 1000 &
peer=$!
there() { nsenter -t "$peer" -n "$@"; }
other_network() { [ "$(readlink /proc/self/ns/net)" != "$(readlink /proc/$peer/ns/net)" ]; }
within 10 other_network
ip link add name trunk type veth
ip link set veth0 netns "$peer"
there ip link set veth0 up
for id in 101 102; do
	there ip link add link veth0 name v$id type vlan id $id
	there ip link set v$id up
done
there ip addr add 192.0.2.1/24 dev veth0
there ip addr add 198.51.100.1/24 dev v101
there ip addr add 2001:db8:102::1/64 dev v102
there ip link set lo up
there ip addr add 203.0.113.1/32 dev lo
ip link add link trunk name other type vlan id 9
cat >/tmp/network.yaml <<'EOF'
`+vlans+`
EOF
apply() { stoker netinit apply --from /tmp/network.yaml --state-dir /tmp/state --no-announce; }
devices() { grep '^[a-z].*|' /proc/net/vlan/config | tr -d ' ' | sort | tr '\n' ' '; }
apply
tell apply $?
apply
tell again $?
stoker netinit status --state-dir /tmp/state
tell status $?
tell devices "$(devices)"
tell mtu "$(cat /sys/class/net/storage0/mtu)"
tell routes "$(ip route show | grep default)"
for address in 192.0.2.1 198.51.100.1 203.0.113.1 2001:db8:102::1; do
	ping -c 3 -W 5 "$address" >/dev/null
	tell ping $?
done
sed -i '/id: service/,$d; /id: storage/,/addresses/d' /tmp/network.yaml
apply
tell less $?
tell left "$(devices)"
tell addresses "$(ip -4 addr show trunk | sed -n 's/.*inet \([^ ]*\) .*/\1/p')"
kill "$peer"
`)
	if strings.Join(m.values["modules"], "") == "none" {
		lacking(t, "there are no modules for VLANs: scripts/vm.sh provides them where the distribution has them beside the kernel")
	}
	m.want("apply", "0")
	m.want("again", "0")
	m.want("status", "0")
	m.want("devices", `other\|9\|trunk storage0\|102\|trunk trunk.101\|101\|trunk`)
	m.want("mtu", "1400")
	m.want("routes", `default via 198.51.100.1 dev trunk.101`)
	m.want("ping", "0\n0\n0\n0")
	m.want("less", "0")
	m.want("left", `other\|9\|trunk`)
	m.want("addresses", "192.0.2.10/24")
}

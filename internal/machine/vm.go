package machine

import (
	"bufio"
	"os"
	"slices"
	"strings"
)

// containerFiles are what container engines put into every container.
var containerFiles = []struct{ path, engine string }{
	{"/var/run/secrets/kubernetes.io/serviceaccount", "kubernetes"},
	{"/run/.containerenv", "podman"},
	{"/.dockerenv", "docker"},
}

// containerGroups are parts of the paths of control groups.
var containerGroups = []struct{ part, engine string }{
	{"/kubepods", "kubernetes"}, {"libpod", "podman"}, {"/docker", "docker"}, {"/lxc", "lxc"}, {"/containerd", "container"},
}

// Container returns the engine of the container that the daemon runs in, "" if
// there is no sign of one. root is that of the file system; "": /.
func Container(root string) string {
	if os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return "kubernetes"
	}
	for _, f := range containerFiles {
		if _, err := os.Stat(under(root, f.path)); err == nil {
			return f.engine
		}
	}
	for _, p := range []string{"/proc/self/cgroup", "/proc/1/cgroup"} {
		text, _ := readText(under(root, p))
		for _, g := range containerGroups {
			if strings.Contains(text, g.part) {
				return g.engine
			}
		}
	}
	engine, _ := readText(under(root, "/run/systemd/container")) // lxc, systemd-nspawn and others say it here
	return engine
}

// makers are what the firmware of virtual machines calls itself. The first that
// fits counts, so the narrow ones come first.
var makers = []struct{ text, vm string }{
	{"vmware", "vmware"},
	{"innotek gmbh", "virtualbox"}, {"virtualbox", "virtualbox"},
	{"parallels", "parallels"},
	{"bhyve", "bhyve"},
	{"apple virtualization", "apple"},
	{"microsoft corporation virtual machine", "hyperv"}, {"hyper-v", "hyperv"},
	{"xen", "xen"},
	{"qemu", "kvm"}, {"kvm", "kvm"}, {"kubevirt", "kvm"}, {"openstack", "kvm"}, {"bochs", "kvm"}, {"firecracker", "kvm"},
	{"google compute engine", "kvm"}, {"amazon ec2", "kvm"}, {"digitalocean", "kvm"}, {"hetzner", "kvm"}, {"alibaba cloud", "kvm"},
}

// VM returns what the daemon runs in: the engine of its container (docker,
// podman, kubernetes, lxc and others), else the maker of its virtual machine
// (kvm, vmware, hyperv, xen, virtualbox and others), "none" for bare metal, and
// "unknown" where something hides it or this system does not say.
//
// It is a hint, for reports and for a license that asks: whoever owns the
// machine can make it say anything.
func VM(root string) string {
	if engine := Container(root); engine != "" {
		return engine
	}
	return hypervisor(root)
}

func hypervisor(root string) string {
	dmi := func(name string) string {
		s, _ := readText(under(root, "/sys/class/dmi/id/"+name))
		return strings.ToLower(s)
	}
	product := dmi("product_name")
	firmware := strings.TrimSpace(strings.Join([]string{dmi("sys_vendor"), product, dmi("board_vendor"), dmi("bios_vendor")}, " "))
	if strings.HasPrefix(firmware, "amazon ec2") && strings.Contains(product, ".metal") {
		return "none" // the same maker sells bare metal
	}
	for _, m := range makers {
		if strings.Contains(firmware, m.text) {
			return m.vm
		}
	}
	if kind, _ := readText(under(root, "/sys/hypervisor/type")); kind != "" {
		if caps, _ := readText(under(root, "/proc/xen/capabilities")); strings.Contains(caps, "control_d") {
			return "none" // the machine's own system, which runs the others
		}
		return kind
	}
	if c, _ := readText(under(root, "/sys/firmware/devicetree/base/hypervisor/compatible")); c != "" {
		for _, m := range makers {
			if strings.Contains(c, m.text) {
				return m.vm
			}
		}
		return "unknown"
	}
	switch virtual, known := hypervisorFlag(root); {
	case virtual:
		return "unknown" // something is there and hides its name
	case known || firmware != "":
		return "none"
	}
	return "unknown"
}

// hypervisorFlag tells whether the processor says that it is a virtual one, and
// whether it says anything: those of ARM do not.
func hypervisorFlag(root string) (virtual, known bool) {
	f, err := os.Open(under(root, "/proc/cpuinfo"))
	if err != nil {
		return false, false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, list, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "flags" {
			return slices.Contains(strings.Fields(list), "hypervisor"), true
		}
	}
	return false, false
}

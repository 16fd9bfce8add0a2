package machine_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/internal/machine"
)

// tree makes a file system of name and text; a text "-> PATH" is a link, as
// /sys is full of.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	t.Setenv("KUBERNETES_SERVICE_HOST", "") // these tests may themselves run in a pod
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(text, "-> "); link {
			if err = os.MkdirAll(filepath.Join(filepath.Dir(path), target), 0o755); err == nil {
				err = os.Symlink(target, path)
			}
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// card adds a network card below device.
func card(files map[string]string, name, device, address, assigned string) {
	at := "sys/devices/" + device + "/net/" + name
	files["sys/class/net/"+name] = "-> ../../devices/" + device + "/net/" + name
	files[at+"/address"], files[at+"/addr_assign_type"] = address+"\n", assigned+"\n"
	if !strings.HasPrefix(device, "virtual") {
		files[at+"/device"] = "-> ../.."
	}
}

// disk adds a disk below device, with the file that holds its serial.
func disk(files map[string]string, name, device, removable, file, serial string) {
	at := "sys/devices/" + device + "/block/" + name
	files["sys/block/"+name] = "-> ../devices/" + device + "/block/" + name
	files[at+"/removable"] = removable + "\n"
	files[at+"/"+file] = serial
}

// server is a machine with everything.
func server() map[string]string {
	files := map[string]string{
		"etc/machine-id":                     "6F1ED002AB5595859014EBF0951522D9\n",
		"sys/class/dmi/id/product_uuid":      "4C4C4544-0042-3510-8054-B7C04F4E3132\n",
		"sys/class/dmi/id/sys_vendor":        "Dell Inc.\n",
		"proc/sys/kernel/hostname":           "plant-7\n",
		"proc/cpuinfo":                       "processor\t: 0\nflags\t\t: fpu vme sse2\n",
		"etc/passwd":                         fmt.Sprintf("other:x:99999:1::/:/bin/sh\nmeterd:x:%d:0::/:/bin/sh\n", os.Getuid()),
		"run/cloud-init/instance-data.json":  `{"v1":{"instance_id":"ocid1.instance.abc"}}`,
		"var/lib/cloud/data/instance-id":     "older\n",
		"etc/meterseal/dongle":               "serial 17\n",
		"etc/podinfo/cluster-uid":            "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
		"sys/class/net/bonding_masters":      "bond0\n",
		"sys/devices/virtual/net/lo/address": "00:00:00:00:00:00\n",
	}
	card(files, "eth1", "pci0/02/net1", "3c:ec:ef:00:00:02", "0")
	card(files, "eth0", "pci0/01/net0", "3c:ec:ef:00:00:01", "0")
	card(files, "usb0", "pci0/usb1/1-1", "3c:ec:ef:00:00:09", "0")  // comes and goes
	card(files, "rnd0", "pci0/03/net2", "3c:ec:ef:00:00:08", "1")   // random
	card(files, "kvm0", "pci0/04/net3", "52:54:00:12:34:56", "0")   // locally administered
	card(files, "docker0", "virtual", "3c:ec:ef:00:00:07", "0")     // no device
	card(files, "slave0", "pci0/05/net4", "3c:ec:ef:00:00:01", "3") // has the address of its bond
	files["sys/devices/pci0/05/net4/net/slave0/bonding_slave/perm_hwaddr"] = "3c:ec:ef:00:00:03\n"
	disk(files, "sda", "pci0/06/ata1", "0", "device/vpd_pg80", "\x00\x80\x00\x08WD-00001")
	disk(files, "nvme0n1", "pci0/07/nvme0", "0", "device/serial", "S5GX0001  \n")
	disk(files, "vda", "pci0/08/virtio1", "0", "serial", "virt-1")
	disk(files, "sdb", "pci0/usb2/2-1", "0", "device/serial", "STICK")
	disk(files, "sdc", "pci0/09/ata2", "1", "device/serial", "CARD")
	disk(files, "dm-0", "virtual", "0", "serial", "CRYPT")
	return files
}

func read(t *testing.T, o machine.Options) map[string]machine.Binding {
	t.Helper()
	got := map[string]machine.Binding{}
	for _, b := range machine.Read(context.Background(), o) {
		if (b.Raw == "") != (b.Err != nil) || b.Err != nil && !errors.Is(b.Err, machine.ErrAbsent) {
			t.Errorf("Read %s = %q, %v, want a value or why it is absent", b.Name, b.Raw, b.Err)
		}
		got[b.Name] = b
	}
	return got
}

// every binding of a machine that has them all.
func TestReadServer(t *testing.T) {
	o := machine.Options{Root: tree(t, server()), Names: machine.Names(), Custom: "/etc/meterseal/dongle", ClusterUID: "/etc/podinfo/cluster-uid",
		TPM: func() (string, error) { return "000bff", nil }}
	got := map[string]string{}
	for name, b := range read(t, o) {
		if name == "ip" {
			continue // of this machine: TestIP
		}
		got[name] = b.Raw
		want := map[string]machine.Scope{"cluster-uid": machine.ScopeCluster, "custom": machine.ScopeFile}[name]
		if want == "" {
			want = machine.ScopeMachine
		}
		if b.Scope != want {
			t.Errorf("scope of %s = %q, want %q", name, b.Scope, want)
		}
		if b.Raw != "" && strings.Contains(fmt.Sprintf("%v %+v %s", b, b, b), b.Raw) {
			t.Errorf("printing %s shows its raw value: %v", name, b)
		}
	}
	want := map[string]string{
		"machine-id": "6f1ed002ab5595859014ebf0951522d9", "dmi-uuid": "4c4c4544-0042-3510-8054-b7c04f4e3132", "disk": "S5GX0001,WD-00001,virt-1",
		"mac": "3c:ec:ef:00:00:01,3c:ec:ef:00:00:02,3c:ec:ef:00:00:03", "hostname": "plant-7", "user": "meterd", "cloud-instance": "ocid1.instance.abc",
		"cluster-uid": "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", "tpm": "000bff", "custom": "serial 17",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("bindings (-want +got):\n%s", d)
	}
	if vm := machine.VM(o.Root); vm != "none" {
		t.Errorf("VM() = %q, want none", vm)
	}
}

// the default reads nothing; an order is kept; a name that is none is absent.
func TestReadNames(t *testing.T) {
	root := tree(t, server())
	if got := machine.Read(context.Background(), machine.Options{Root: root}); len(got) != 0 {
		t.Errorf("Read without names = %v, want nothing", got)
	}
	got := machine.Read(context.Background(), machine.Options{Root: root, Names: []string{"hostname", "motherboard", "machine-id"}})
	if len(got) != 3 || got[0].Raw != "plant-7" || got[1].Err == nil || got[2].Name != "machine-id" {
		t.Errorf("Read = %v, want hostname, an absent motherboard, machine-id", got)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if got := machine.Read(ended, machine.Options{Root: root, Names: []string{"hostname"}}); !errors.Is(got[0].Err, context.Canceled) {
		t.Errorf("Read after the end of its context = %v, want absent, %v", got, context.Canceled)
	}
}

// an empty machine has no binding but the user, and each says why.
func TestReadAbsent(t *testing.T) {
	root := tree(t, nil)
	for name, b := range read(t, machine.Options{Root: root, Names: machine.Names()}) {
		if name != "ip" && name != "user" && b.Err == nil {
			t.Errorf("%s = %q on an empty machine, want absent", name, b.Raw)
		}
	}
	for _, c := range []struct{ name, file, text, want string }{
		{"machine-id", "etc/machine-id", "uninitialized\n", "/etc/machine-id is not set"},
		{"dmi-uuid", "sys/class/dmi/id/product_uuid", "03000200-0400-0500-0006-000700080009\n", "the firmware has none"},
		{"hostname", "proc/sys/kernel/hostname", "localhost\n", "no name of its own"},
		{"cloud-instance", "var/lib/cloud/data/instance-id", "iid-datasource-none\n", "without a cloud"},
		{"disk", "sys/block/loop0/serial", "x", "no disk"},
		{"mac", "sys/class/net/bonding_masters", "\n", "no built-in network card"},
		{"custom", "dongle", " \n", "is empty"},
	} {
		root := tree(t, map[string]string{c.file: c.text})
		b := read(t, machine.Options{Root: root, Names: []string{c.name}, Custom: "/dongle"})[c.name]
		if b.Err == nil || !strings.Contains(b.Err.Error(), "absent: ") || !strings.Contains(b.Err.Error(), c.want) {
			t.Errorf("%s = %q, %v, want absent: %s", c.name, b.Raw, b.Err, c.want)
		}
	}
	b := read(t, machine.Options{Root: root, Names: []string{"tpm"}, TPM: func() (string, error) { return "", os.ErrPermission }})["tpm"]
	if !errors.Is(b.Err, os.ErrPermission) {
		t.Errorf("tpm = %v, want %v", b.Err, os.ErrPermission)
	}
	root = tree(t, map[string]string{"sys/class/dmi/id/board_asset_tag": "i-0abc\n", "run/cloud-init/instance-data.json": `{"v1":{"instance_id":"copied"}}`})
	if b := read(t, machine.Options{Root: root, Names: []string{"cloud-instance"}})["cloud-instance"]; b.Raw != "i-0abc" {
		t.Errorf("cloud-instance = %q, want the firmware's word before that of a file", b.Raw)
	}
}

// in a container each value says whether it is the host's or the container's.
func TestReadInContainer(t *testing.T) {
	files := server()
	files["run/.containerenv"] = ""
	for name, b := range read(t, machine.Options{Root: tree(t, files), Names: machine.Names()}) {
		want := machine.ScopeContainer
		switch name {
		case "dmi-uuid", "disk", "tpm", "cloud-instance":
			want = machine.ScopeHost
		case "cluster-uid":
			want = machine.ScopeCluster
		case "custom":
			want = machine.ScopeFile
		}
		if b.Scope != want {
			t.Errorf("scope of %s = %q, want %q", name, b.Scope, want)
		}
	}
}

// addresses of this machine that reach beyond a link, in order.
func TestIP(t *testing.T) {
	b := read(t, machine.Options{Names: []string{"ip"}})["ip"]
	if b.Err != nil {
		t.Skipf("this machine has no address: %v", b.Err)
	}
	list := strings.Split(b.Raw, ",")
	if !slices.IsSorted(list) {
		t.Errorf("ip = %v, want it sorted", list)
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		ip := net.ParseIP(a)
		if ip == nil || ip.IsLoopback() || ip.IsLinkLocalUnicast() || !slices.ContainsFunc(own, func(o net.Addr) bool { return strings.HasPrefix(o.String(), a+"/") }) {
			t.Errorf("ip has %q, which is no address of this machine beyond its link", a)
		}
	}
}

// L-23: the hint per platform.
func TestVM(t *testing.T) {
	dmi := func(vendor, product string) map[string]string {
		return map[string]string{"sys/class/dmi/id/sys_vendor": vendor + "\n", "sys/class/dmi/id/product_name": product + "\n"}
	}
	flags := func(flags string) map[string]string {
		return map[string]string{"proc/cpuinfo": "processor\t: 0\nflags\t\t: " + flags + "\n"}
	}
	for _, c := range []struct {
		want  string
		files map[string]string
	}{
		{"kvm", dmi("QEMU", "Standard PC (Q35 + ICH9, 2009)")},
		{"kvm", dmi("Amazon EC2", "m5.large")},
		{"none", dmi("Amazon EC2", "m5.metal")},
		{"kvm", dmi("Google", "Google Compute Engine")},
		{"vmware", dmi("VMware, Inc.", "VMware7,1")},
		{"hyperv", dmi("Microsoft Corporation", "Virtual Machine")},
		{"none", dmi("Microsoft Corporation", "Surface Laptop")},
		{"virtualbox", dmi("innotek GmbH", "VirtualBox")},
		{"xen", dmi("Xen", "HVM domU")},
		{"xen", map[string]string{"sys/hypervisor/type": "xen\n"}},
		{"none", map[string]string{"sys/hypervisor/type": "xen\n", "proc/xen/capabilities": "control_d\n"}},
		{"none", dmi("Dell Inc.", "PowerEdge R650")},
		{"none", flags("fpu sse2")},
		{"unknown", flags("fpu hypervisor sse2")},
		{"unknown", nil},
		{"kvm", map[string]string{"sys/firmware/devicetree/base/hypervisor/compatible": "linux,kvm\x00"}},
		{"docker", map[string]string{".dockerenv": "", "sys/class/dmi/id/sys_vendor": "QEMU"}},
		{"podman", map[string]string{"run/.containerenv": ""}},
		{"kubernetes", map[string]string{"var/run/secrets/kubernetes.io/serviceaccount/namespace": "default", ".dockerenv": ""}},
		{"kubernetes", map[string]string{"proc/self/cgroup": "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-2.scope\n"}},
		{"lxc", map[string]string{"run/systemd/container": "lxc\n"}},
		{"none", map[string]string{"proc/self/cgroup": "0::/system.slice/meterseal.service\n", "sys/class/dmi/id/sys_vendor": "HPE"}},
	} {
		if got := machine.VM(tree(t, c.files)); got != c.want {
			t.Errorf("VM(%v) = %q, want %q", c.files, got, c.want)
		}
	}
	root := tree(t, dmi("QEMU", ""))
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
	if got := machine.VM(root); got != "kubernetes" {
		t.Errorf("VM() in a pod = %q, want kubernetes", got)
	}
}

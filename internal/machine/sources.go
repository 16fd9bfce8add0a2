package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// valueBytesMax is above what any file of a binding holds; longer ones are not
// what they should be.
const valueBytesMax = 64 << 10

// readText returns a small file without the white space and zeros around it.
func readText(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, valueBytesMax+1))
	if err != nil {
		return "", err
	}
	if len(b) > valueBytesMax {
		return "", fmt.Errorf("%s: more than %d bytes", path, valueBytesMax)
	}
	return strings.Trim(string(b), " \t\r\n\x00"), nil
}

// machineID is what the system made at its installation. In a container it is
// that of the image, if the image has one at all.
func machineID(o *Options) (string, error) {
	var errs []error
	for _, p := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		id, err := readText(under(o.Root, p))
		if err == nil && (id == "" || id == "uninitialized") {
			err = fmt.Errorf("%s is not set", p)
		}
		if err == nil {
			return strings.ToLower(id), nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

// noUUID are what boards say that were never given one.
var noUUID = []string{
	"", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
	"03000200-0400-0500-0006-000700080009", "12345678-1234-5678-90ab-cddeefaabbcc",
	"not settable", "not present",
}

// dmiUUID is the firmware's. The kernel shows it to root alone.
func dmiUUID(o *Options) (string, error) {
	id, err := readText(under(o.Root, "/sys/class/dmi/id/product_uuid"))
	if err != nil {
		return "", err
	}
	if id = strings.ToLower(id); slices.Contains(noUUID, id) {
		return "", absent("the firmware has none: %q", id)
	}
	return id, nil
}

// diskSerials are the serial numbers of the disks that stay in the machine,
// sorted: what is removable, hangs on USB or exists in memory only does not
// count, nor does a disk that names no serial.
func diskSerials(o *Options) (string, error) {
	list, err := os.ReadDir(under(o.Root, "/sys/block"))
	if err != nil {
		return "", err
	}
	var serials []string
	for _, d := range list {
		at := under(o.Root, "/sys/block/"+d.Name())
		if removable, _ := readText(filepath.Join(at, "removable")); removable == "1" || onUSB(at) || madeUp(d.Name()) {
			continue
		}
		if s := diskSerial(at); s != "" {
			serials = append(serials, s)
		}
	}
	return joined(serials, "no disk of this machine shows a serial number")
}

// madeUp tells the names of block devices that are no disks.
func madeUp(name string) bool {
	return slices.ContainsFunc([]string{"loop", "ram", "zram", "dm-", "md", "nbd", "sr", "fd"}, func(p string) bool {
		return strings.HasPrefix(name, p)
	})
}

// onUSB tells whether a device of /sys hangs on USB, where things come and go.
func onUSB(at string) bool {
	real, err := filepath.EvalSymlinks(at)
	return err == nil && strings.Contains(real, "/usb")
}

// diskSerial asks NVMe and MMC (device/serial), virtio (serial) and SCSI or SATA
// (page 0x80, after four bytes of header).
func diskSerial(at string) string {
	for _, p := range []string{"device/serial", "serial"} {
		if s, err := readText(filepath.Join(at, p)); err == nil && s != "" {
			return s
		}
	}
	page, err := os.ReadFile(filepath.Join(at, "device/vpd_pg80"))
	if err != nil || len(page) <= 4 {
		return ""
	}
	return strings.Trim(string(page[4:]), " \x00")
}

// macAddresses are those of the network cards that are built in, sorted. An
// address that somebody made up (locally administered) changes with a setting,
// and those of bridges, tunnels and containers with a restart.
func macAddresses(o *Options) (string, error) {
	list, err := os.ReadDir(under(o.Root, "/sys/class/net"))
	if err != nil {
		return "", err
	}
	var addresses []string
	for _, d := range list {
		at := under(o.Root, "/sys/class/net/"+d.Name())
		if _, err := os.Stat(filepath.Join(at, "device")); err != nil || onUSB(at) {
			continue // without a device below it is no card
		}
		a, _ := readText(filepath.Join(at, "bonding_slave/perm_hwaddr")) // a bond hides the card's own
		if a == "" {
			if kind, err := readText(filepath.Join(at, "addr_assign_type")); err == nil && kind != "0" {
				continue // random or set, not the card's
			}
			a, _ = readText(filepath.Join(at, "address"))
		}
		hw, err := net.ParseMAC(a)
		if err != nil || len(hw) != 6 || hw[0]&3 != 0 || slices.Equal(hw, make([]byte, 6)) {
			continue // bit 0: multicast, bit 1: locally administered
		}
		addresses = append(addresses, hw.String())
	}
	return joined(addresses, "no built-in network card has an address of its maker")
}

func hostName(o *Options) (string, error) {
	name, err := readText(under(o.Root, "/proc/sys/kernel/hostname"))
	if err != nil && under(o.Root, "") == "/" {
		name, err = os.Hostname()
	}
	if err == nil && (name == "" || name == "localhost" || name == "(none)") {
		err = absent("this machine has no name of its own: %q", name)
	}
	return name, err
}

// ipAddresses are the IPv4 addresses of this machine, sorted; without any those
// of IPv6, of which a machine may make new ones by itself.
func ipAddresses(*Options) (string, error) {
	list, err := net.Interfaces()
	if err != nil {
		return "", err
	}
	var v4, v6 []string
	for _, i := range list {
		addresses, err := i.Addrs()
		if err != nil || i.Flags&net.FlagUp == 0 || ofContainers(i.Name) {
			continue
		}
		for _, a := range addresses {
			n, ok := a.(*net.IPNet)
			switch {
			case !ok || !n.IP.IsGlobalUnicast():
			case n.IP.To4() != nil:
				v4 = append(v4, n.IP.String())
			default:
				v6 = append(v6, n.IP.String())
			}
		}
	}
	if len(v4) == 0 {
		v4 = v6
	}
	return joined(v4, "no interface has an address beyond its link")
}

// ofContainers tells interfaces that come and go with containers and virtual
// machines of this host.
func ofContainers(name string) bool {
	return slices.ContainsFunc([]string{"docker", "br-", "veth", "cni", "flannel", "cali", "cilium", "virbr", "podman", "lxc", "tap"}, func(p string) bool {
		return strings.HasPrefix(name, p)
	})
}

// userName is the user that the daemon runs as, by number where it has no name.
func userName(o *Options) (string, error) {
	uid := os.Getuid()
	if uid < 0 { // Windows
		u, err := user.Current()
		if err != nil {
			return "", err
		}
		return u.Username, nil
	}
	passwd, _ := readText(under(o.Root, "/etc/passwd"))
	for line := range strings.Lines(passwd) {
		if f := strings.Split(line, ":"); len(f) > 2 && f[2] == strconv.Itoa(uid) {
			return f[0], nil
		}
	}
	return "uid " + strconv.Itoa(uid), nil
}

// cloudInstance is the instance's id as firmware or cloud-init have left it
// here. The metadata address is never asked.
func cloudInstance(o *Options) (string, error) {
	if tag, err := readText(under(o.Root, "/sys/class/dmi/id/board_asset_tag")); err == nil && strings.HasPrefix(tag, "i-") {
		return tag, nil // EC2; other clouds put something else there
	}
	data, err := readText(under(o.Root, "/run/cloud-init/instance-data.json"))
	if err == nil {
		var d struct {
			V1 struct {
				ID string `json:"instance_id"`
			} `json:"v1"`
		}
		if err = json.Unmarshal([]byte(data), &d); err == nil && d.V1.ID != "" {
			return realInstance(d.V1.ID)
		}
	}
	id, err := readText(under(o.Root, "/var/lib/cloud/data/instance-id"))
	if err != nil {
		return "", absent("neither firmware nor cloud-init name an instance: %w", err)
	}
	return realInstance(id)
}

// realInstance refuses what cloud-init says of machines without a cloud.
func realInstance(id string) (string, error) {
	if slices.Contains([]string{"", "nocloud", "iid-datasource-none", "iid-local01"}, strings.ToLower(id)) {
		return "", absent("cloud-init ran without a cloud: %q", id)
	}
	return id, nil
}

func clusterUID(o *Options) (string, error) {
	if o.ClusterUID == "" {
		return "", absent("bindings.cluster_uid is not set")
	}
	if !filepath.IsAbs(o.ClusterUID) {
		return o.ClusterUID, nil
	}
	return nonEmpty(under(o.Root, o.ClusterUID))
}

func tpmName(o *Options) (string, error) {
	if o.TPM == nil {
		return "", absent("tpm.device is not set")
	}
	return o.TPM()
}

func custom(o *Options) (string, error) {
	if o.Custom == "" {
		return "", absent("bindings.custom_file is not set")
	}
	return nonEmpty(under(o.Root, o.Custom))
}

func nonEmpty(path string) (string, error) {
	s, err := readText(path)
	if err == nil && s == "" {
		err = absent("%s is empty", path)
	}
	return s, err
}

// joined returns the different values of list in order, or why there are none.
func joined(list []string, none string) (string, error) {
	slices.Sort(list)
	if list = slices.Compact(list); len(list) == 0 {
		return "", absent("%s", none)
	}
	return strings.Join(list, ","), nil
}

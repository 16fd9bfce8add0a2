// Package machine says where the daemon runs: the bindings that a license may
// ask for, a hint whether this is a virtual machine or a container, and its two
// clocks.
//
// Everything is read from files and from the kernel of this machine. No network
// is ever asked: neither the metadata address of a cloud nor the API of a
// Kubernetes cluster.
//
// Its limit: bindings and the hint deter copying by mistake, not by intent. Whoever
// owns the machine can make all of them say what he likes.
package machine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// ErrAbsent is in the Err of every binding that this machine does not have or
// does not show. It is no fault: a license asks for k of n, and what cannot be
// read does not match.
var ErrAbsent = errors.New("absent")

// Scope says what a value belongs to, and so when it changes without anybody
// having copied anything.
type Scope string

// Scopes. On a machine without containers everything is of the machine but for
// the cluster and the files.
const (
	ScopeMachine   Scope = "machine"   // as long as the machine, or its installation
	ScopeHost      Scope = "host"      // of the host below this container: changes when the container moves
	ScopeContainer Scope = "container" // of this container, or its image: new with every container, or alike in all
	ScopeCluster   Scope = "cluster"   // of the Kubernetes cluster
	ScopeFile      Scope = "file"      // what somebody has put there
)

// A Binding is one component of the machine's identity.
//
// Raw stays on this machine: a ledger and a report hold its hash
// (ledger.BindHash), and only a detailed report the value.
type Binding struct {
	Name  string
	Raw   string // "" with Err
	Scope Scope
	Err   error // wraps ErrAbsent and says why
}

// String says everything but the raw value, so that no log holds it by accident.
func (b Binding) String() string {
	if b.Err != nil {
		return b.Name + ": " + b.Err.Error()
	}
	return fmt.Sprintf("%s: read, of the %s", b.Name, b.Scope)
}

// Options say what to read and where.
type Options struct {
	Names []string // of the list Names; none: nothing is read
	Root  string   // of the file system; "": /
	// Custom is the path of a file; its text is the binding custom.
	Custom string
	// ClusterUID is the binding cluster-uid, or the absolute path of a file with
	// it. A pod gets either from the downward API; the usual value is the uid of
	// the namespace kube-system.
	ClusterUID string
	// TPM returns the name of the TPM's endorsement key; nil: there is none.
	TPM func() (string, error)
}

// reader reads one binding.
type reader struct {
	name string
	read func(o *Options) (string, error)
	// in a container: what the value belongs to there
	inContainer Scope
}

// readers in the order of the documentation.
var readers = []reader{
	{"machine-id", machineID, ScopeContainer},
	{"dmi-uuid", dmiUUID, ScopeHost},
	{"disk", diskSerials, ScopeHost},
	{"mac", macAddresses, ScopeContainer},
	{"hostname", hostName, ScopeContainer},
	{"ip", ipAddresses, ScopeContainer},
	{"user", userName, ScopeContainer},
	{"cloud-instance", cloudInstance, ScopeHost},
	{"cluster-uid", clusterUID, ScopeCluster},
	{"tpm", tpmName, ScopeHost},
	{"custom", custom, ScopeFile},
}

// Names returns the name of every binding, in the order of the documentation.
func Names() []string {
	var list []string
	for _, r := range readers {
		list = append(list, r.name)
	}
	return list
}

// Read returns the bindings o.Names in that order. What cannot be read is there
// too, with its Err. It stops reading when ctx ends; what is left is absent then.
func Read(ctx context.Context, o Options) []Binding {
	contained := Container(o.Root) != ""
	var list []Binding
	for _, name := range o.Names {
		b := Binding{Name: name, Scope: ScopeMachine}
		i := slices.IndexFunc(readers, func(r reader) bool { return r.name == name })
		switch {
		case i < 0:
			b.Err = absent("no binding is called %q", name)
		case ctx.Err() != nil:
			b.Err = absent("not read: %w", ctx.Err())
		default:
			if at := readers[i].inContainer; contained || at == ScopeCluster || at == ScopeFile {
				b.Scope = at
			}
			if b.Raw, b.Err = readers[i].read(&o); b.Err != nil {
				b.Raw = ""
				if !errors.Is(b.Err, ErrAbsent) {
					b.Err = absent("%w", b.Err)
				}
			}
		}
		list = append(list, b)
	}
	return list
}

func absent(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrAbsent}, args...)...)
}

// under returns a path below root.
func under(root, path string) string { return filepath.Join("/", root, path) }

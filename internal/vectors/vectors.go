// Package vectors gives tests the example keys, secrets and files of
// docs/formats/vectors. Tests of every package may use it; nothing that is
// released does.
//
// Everything secret in the examples is H("meterseal example X"), so these keys
// protect nothing: never trust them.
package vectors

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"runtime"

	"github.com/meterseal/meterseal/ledger"
)

// Names of the example.
const (
	Domain  = "meter.example"
	License = "L-2026-417"
	Origin  = "meter.example/L-2026-417/djgmytemdzhefh052d8e"
	Opened  = 1793606400 // TIME of open
)

// Derive returns H("meterseal example " + what).
func Derive(what string) [32]byte { return sha256.Sum256([]byte("meterseal example " + what)) }

// Key returns the example key of a role: of site (Origin), license, receipt,
// reply ("meter.example/ROLE/2026") or node (node-01). Site-pq, replica and
// receipt-pq are derived in the same way and stand in no file.
func Key(role ledger.Role) *ledger.SecretKey {
	name := Domain + "/" + role.String() + "/2026"
	switch role {
	case ledger.RoleSite, ledger.RoleSitePQ:
		name = Origin
	case ledger.RoleReplica:
		name = Origin + "/replica/1"
	case ledger.RoleNode:
		name = Origin + "/node/node-01"
	case ledger.RoleReceiptPQ:
		name = Domain + "/receipt/2026"
	}
	seed := Derive(role.String())
	k, err := ledger.NewSecretKey(name, role.KeyType(), seed[:])
	if err != nil {
		panic(err)
	}
	return k
}

// Nonce is that of the open record.
func Nonce() (n [8]byte) {
	d := Derive("open nonce")
	copy(n[:], d[:])
	return n
}

// Secrets returns the salt and tag keys of the example.
func Secrets() *ledger.Secrets {
	return ledger.NewSecrets(Derive("period key 2026-11"), Derive("tag key"), Opened)
}

// Dir returns the folder docs/formats/vectors.
func Dir() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		panic("vectors: no caller")
	}
	return filepath.Join(filepath.Dir(file), "..", "..", "docs", "formats", "vectors")
}

// Read returns a file of docs/formats/vectors.
func Read(name string) []byte {
	b, err := os.ReadFile(filepath.Join(Dir(), name))
	if err != nil {
		panic(err)
	}
	return b
}

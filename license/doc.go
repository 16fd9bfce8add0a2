// Package license reads license documents, verifies them, and decides what a
// site may do. It cannot sign: a signer exists on the vendor's side only.
//
// A license is a signed note (docs/formats/license.md). [Parse] reads the text,
// [Verify] checks who signed it, [Site.Accept] decides whether this site takes it
// into use. What it then means at an instant is a pure function of license,
// facts and time: [License.State] and [License.Decide], the same on both sides.
//
// The limit: a license says what applications are told. Usage is counted in
// every state; a patched application may not ask.
//
// The package knows no clock, no network and no store: instants and facts are
// handed in.
package license

package browsertest

import "github.com/chromedp/cdproto/webauthn"

// Authenticator gives the tab a device that keeps passkeys and that its holder unlocks
// whenever it asks.
func (tab *Tab) Authenticator() *Tab {
	tab.t.Helper()
	call(tab, webauthn.Enable, webauthn.EnableParams{})
	call(tab, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: "ctap2", Transport: "internal", HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true}})
	return tab
}

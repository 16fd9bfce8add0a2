package gate

// OIDC names a provider.
type OIDC struct{}

// Package gate says who sends a request to the portal, and what he may do: users
// with a password and a second factor, sessions, API tokens, roles and rights.
//
// The guarantee: a handler behind [Gate.Wrap] sees a [Caller] who has proved who
// he is, or nobody; requests of other sites' pages, floods and bodies without end
// do not reach it.
package gate

// Says why no connection to a router comes about, when the reason is in TLS: gRPC's own words
// (1.51) tell a wrong authority from a missing certificate at best in part. Private to this folder.
#pragma once

#include <chrono>
#include <string>

#include "linkspan/address.h"
#include "linkspan/tls_files.h"

namespace linkspan::client {

// Connects once more and looks how far the handshake comes. Blocks, `most` at most (and as long as
// the name takes to resolve). Names the mend; empty: nothing is wrong with TLS there, or nothing
// can be told.
std::string why_no_handshake(const Address& address, const tls::Pems& pems,
                             std::chrono::milliseconds most);

}  // namespace linkspan::client

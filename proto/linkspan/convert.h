// The only code that turns protobuf into domain types and back, and the gRPC status of each domain
// error. Everything from the wire is checked here: an out-of-range kind, name, length or count is
// Code::invalid, with the field's name in the message.
#pragma once

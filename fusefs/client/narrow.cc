#include "fusefs/client/narrow.h"

#include "fusefs/client/addresses.h"
#include "fusefs/client/connection.h"
#include "fusefs/client/transport.h"
#include "linkspan/convert.h"
#include "linkspan/convert_status.h"
#include "linkspan/tls_files.h"

namespace linkspan::client {

namespace {

struct Asked {
  Result<NarrowReply> reply;
  bool answered = false;
};

Asked ask(Transport& transport, const std::string& address, const GrpcClientOptions& options,
          const v1::NarrowRequest& m) {
  auto connection = transport.connect(address);
  if (!connection.ok()) return {connection.error()};
  v1::NarrowReply reply;
  grpc::ClientContext context;
  set_deadline(&context, std::chrono::steady_clock::now() + options.attach_attempt);
  const grpc::Status status = (*connection)->session->Narrow(&context, m, &reply);
  if (status.ok()) {
    auto made = wire::from_wire(std::move(reply));
    if (made.ok()) return {std::move(made), true};
    return {fail(Code::internal, "the router's answer to Narrow: " + made.error().message), true};
  }
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED)
    return {fail(Code::unsupported, "the router is older and narrows no tokens"), true};
  Error error = wire::error_of(context, status);
  const bool answered = context.GetServerTrailingMetadata().count(wire::kErrorKey) != 0;
  if (answered) return {std::move(error), true};
  if (const std::string why = transport.why_not(address, error); !why.empty()) error.message = why;
  return {std::move(error)};
}

}  // namespace

Result<NarrowReply> narrow_token(const GrpcClientOptions& options, const NarrowRequest& request) {
  tls::require_tls13();
  v1::NarrowRequest m;
  wire::to_wire(wire::Narrow{{options.token, options.instance}, request}, &m);
  Addresses addresses(options.address);
  Transport transport(options.tls);
  Code code{};
  do {
    auto asked = ask(transport, addresses.current(), options, m);
    if (asked.reply.ok()) return std::move(asked.reply);
    // Another router may serve the tenant; any other answer is the same everywhere.
    if (asked.answered && asked.reply.code() != Code::unavailable) return asked.reply;
    addresses.note(asked.reply.error(), asked.answered);
    code = asked.reply.code();
    addresses.next();
  } while (!addresses.round_begins());
  return fail(code, "no router at " + options.address + " narrows the token: " + addresses.said());
}

}  // namespace linkspan::client

// Attaching, the session's credential, and the frames of its stream.
#include <algorithm>

#include "linkspan/convert.h"
#include "linkspan/convert_check.h"

namespace linkspan::wire {

namespace {

std::string short_text(std::string_view text) {
  return clean_text(text, limits::kLabelBytes);
}

// What is left of a lease may be anything, also nothing.
Result<std::chrono::milliseconds> lease_from(std::string_view field, uint32_t ms,
                                             std::chrono::milliseconds least = {}) {
  LINKSPAN_CHECK(check_range(field, ms, least.count(), limits::kLeaseMax.count()));
  return std::chrono::milliseconds(ms);
}

// Of Attach or Narrow.
template <class Reply>
Result<std::vector<Route>> routes_from(const Reply& m) {
  LINKSPAN_CHECK(check_count("routes", m.routes_size(), limits::kRoutes));
  std::vector<Route> routes;
  for (const v1::Route& wire_route : m.routes()) {
    LINKSPAN_TRY(Route route, from_wire(wire_route));
    const bool twice = std::any_of(routes.begin(), routes.end(),
                                   [&](const Route& r) { return r.path == route.path; });
    if (twice) return bad("routes.path", "the same path twice");
    routes.push_back(std::move(route));
  }
  return routes;
}

}  // namespace

// ---- attaching ---------------------------------------------------------------------------------

void to_wire(const Attach& request, v1::AttachRequest* out) {
  out->set_token(clean_text(request.token, limits::kTokenBytes + 1));
  out->set_client(short_text(request.client));
  out->set_resume_session(request.resume.value);
  out->set_resume_secret(request.resume_secret);
  out->set_resume_revocation(request.resume_revocation);
  out->set_instance(request.instance);
}

namespace {

Status check_instance(const std::string& instance) {
  const size_t bytes = instance.empty() ? 0 : limits::kInstanceBytes;
  return check_bytes("instance", instance.size(), bytes, bytes);
}

}  // namespace

Result<Attach> from_wire(const v1::AttachRequest& m) {
  LINKSPAN_CHECK(check_bytes("token", m.token().size(), 0, limits::kTokenBytes));
  LINKSPAN_CHECK(check_bytes("client", m.client().size(), 0, limits::kLabelBytes));
  const size_t secret = m.resume_session() != 0 ? limits::kSecretBytes : 0;
  LINKSPAN_CHECK(check_bytes("resume_secret", m.resume_secret().size(), secret, secret));
  LINKSPAN_CHECK(check_number("resume_revocation", m.resume_revocation()));
  LINKSPAN_CHECK(check_instance(m.instance()));
  return Attach{m.token(),         short_text(m.client()), SessionId(m.resume_session()),
                m.resume_secret(), m.resume_revocation(),  m.instance()};
}

void to_wire(const Attached& reply, v1::AttachReply* out) {
  out->set_session(reply.session.value);
  out->set_secret(reply.secret);
  out->set_lease_ms(static_cast<uint32_t>(reply.lease.count()));
  for (const Route& route : reply.routes) to_wire(route, out->add_routes());
  out->set_tenant(short_text(reply.tenant));
  out->set_principal(short_text(reply.principal));
  out->set_sandbox(short_text(reply.sandbox));
  out->set_seq(reply.seq.value);
  out->set_resumed(reply.resumed);
  out->set_token_expires(reply.token_expires.ns);
  out->set_router(short_text(reply.router));
  out->set_token_renew_s(static_cast<uint32_t>(reply.token_renew.count()));
}

Result<Attached> from_wire(v1::AttachReply&& m) {
  if (m.session() == 0) return bad("session", "is 0");
  LINKSPAN_CHECK(
      check_bytes("secret", m.secret().size(), limits::kSecretBytes, limits::kSecretBytes));
  Attached reply;
  LINKSPAN_TRY(reply.lease, lease_from("lease_ms", m.lease_ms(), limits::kLeaseMin));
  LINKSPAN_TRY(reply.routes, routes_from(m));
  reply.session = SessionId(m.session());
  reply.secret = std::move(*m.mutable_secret());
  reply.tenant = short_text(m.tenant());
  reply.principal = short_text(m.principal());
  reply.sandbox = short_text(m.sandbox());
  reply.router = short_text(m.router());
  reply.seq = Seq(m.seq());
  reply.resumed = m.resumed();
  reply.token_expires = Time{m.token_expires()};
  reply.token_renew = std::chrono::seconds(m.token_renew_s());
  return reply;
}

// ---- narrowing a token -------------------------------------------------------------------------

namespace {

Result<Access> rights_from(std::string_view field, uint32_t rights) {
  if (rights == 0) return Access::none;  // those of the token
  return access_from(field, rights);
}

}  // namespace

void to_wire(const Narrow& ask, v1::NarrowRequest* out) {
  out->set_token(clean_text(ask.proof.token, limits::kTokenBytes + 1));
  out->set_instance(ask.proof.instance);
  for (const NarrowRequest::Reach& reach : ask.request.reaches) {
    v1::NarrowRequest::Reach* to = out->add_reaches();
    to->set_path(reach.path);
    to->set_rights(static_cast<uint32_t>(reach.rights));
  }
  out->set_rights(static_cast<uint32_t>(ask.request.rights));
  out->set_expires(ask.request.expires.ns);
  out->set_sandbox(clean_text(ask.request.sandbox, limits::kLabelBytes + 1));
}

Result<Narrow> from_wire(const v1::NarrowRequest& m) {
  LINKSPAN_CHECK(check_bytes("token", m.token().size(), 0, limits::kTokenBytes));
  LINKSPAN_CHECK(check_instance(m.instance()));
  LINKSPAN_CHECK(check_count("reaches", m.reaches_size(), limits::kRoutes * limits::kReaches));
  LINKSPAN_CHECK(check_bytes("sandbox", m.sandbox().size(), 0, limits::kLabelBytes));
  if (!m.sandbox().empty()) LINKSPAN_CHECK(check_name("sandbox", m.sandbox()));
  LINKSPAN_CHECK(check_printable("sandbox", m.sandbox()));
  if (m.expires() < 0) return bad("expires", "is before 1970");
  Narrow ask;
  for (const v1::NarrowRequest::Reach& reach : m.reaches()) {
    LINKSPAN_CHECK(check_route_path(reach.path()));
    LINKSPAN_TRY(const Access rights, rights_from("reaches.rights", reach.rights()));
    ask.request.reaches.push_back({reach.path(), rights});
  }
  LINKSPAN_TRY(ask.request.rights, rights_from("rights", m.rights()));
  ask.request.expires = Time{m.expires()};
  ask.request.sandbox = m.sandbox();
  ask.proof = {m.token(), m.instance()};
  return ask;
}

void to_wire(const NarrowReply& reply, v1::NarrowReply* out) {
  out->set_token(reply.token);
  for (const Route& route : reply.routes) to_wire(route, out->add_routes());
  out->set_principal(short_text(reply.principal));
  out->set_sandbox(short_text(reply.sandbox));
  out->set_expires(reply.expires.ns);
}

Result<NarrowReply> from_wire(v1::NarrowReply&& m) {
  LINKSPAN_CHECK(check_bytes("token", m.token().size(), 1, limits::kTokenBytes));
  NarrowReply reply;
  LINKSPAN_TRY(reply.routes, routes_from(m));
  reply.token = m.token();
  reply.principal = short_text(m.principal());
  reply.sandbox = short_text(m.sandbox());
  reply.expires = Time{m.expires()};
  return reply;
}

std::string encode_credential(const Credential& credential) {
  std::string out;
  for (int byte = 0; byte < 8; ++byte)
    out += static_cast<char>(credential.session.value >> (8 * byte));
  return out + credential.secret;
}

Result<Credential> decode_credential(std::string_view metadata) {
  if (metadata.size() != 8 + limits::kSecretBytes)
    return fail(Code::session_lost, std::string(kSessionKey) + ": not 24 bytes; attach first");
  uint64_t session = 0;
  for (int byte = 0; byte < 8; ++byte)
    session |= uint64_t{static_cast<unsigned char>(metadata[byte])} << (8 * byte);
  if (session == 0)
    return fail(Code::session_lost, std::string(kSessionKey) + ": session 0; attach first");
  return Credential{SessionId(session), std::string(metadata.substr(8))};
}

// ---- frames ------------------------------------------------------------------------------------

void to_wire(const ClientFrame& frame, v1::ClientFrame* out) {
  if (const auto* hello = std::get_if<Hello>(&frame)) {
    out->mutable_hello()->set_last_revocation(hello->last_revocation);
  } else if (const auto* renew = std::get_if<Renew>(&frame)) {
    out->mutable_renew()->set_answered_below(renew->answered_below.value);
    out->mutable_renew()->set_nonce(renew->nonce);
  } else if (const auto* ack = std::get_if<Ack>(&frame)) {
    out->mutable_ack()->set_revocation(ack->revocation);
  }
}

Result<ClientFrame> from_wire(const v1::ClientFrame& m) {
  switch (m.frame_case()) {
    case v1::ClientFrame::kHello:
      LINKSPAN_CHECK(check_number("hello.last_revocation", m.hello().last_revocation()));
      return ClientFrame(Hello{m.hello().last_revocation()});
    case v1::ClientFrame::kRenew:
      LINKSPAN_CHECK(check_number("renew.answered_below", m.renew().answered_below()));
      return ClientFrame(Renew{OpNumber(m.renew().answered_below()), m.renew().nonce()});
    case v1::ClientFrame::kAck:
      LINKSPAN_CHECK(check_number("ack.revocation", m.ack().revocation()));
      return ClientFrame(Ack{m.ack().revocation()});
    case v1::ClientFrame::FRAME_NOT_SET:
      break;
  }
  return bad("frame", "is missing or unknown");
}

void to_wire(const Welcome& frame, v1::RouterFrame* out) {
  out->mutable_welcome()->set_lease_ms(static_cast<uint32_t>(frame.lease.count()));
  out->mutable_welcome()->set_resumed(frame.resumed);
}

void to_wire(const Renewed& frame, v1::RouterFrame* out) {
  out->mutable_renewed()->set_nonce(frame.nonce);
  out->mutable_renewed()->set_lease_ms(static_cast<uint32_t>(frame.lease.count()));
}

void to_wire(const Revocation& revocation, v1::RouterFrame* out) {
  v1::RouterFrame::Revoke* m = out->mutable_revoke();
  m->set_number(revocation.number);
  m->set_seq(revocation.seq.value);
  const bool too_many = revocation.nodes.size() > limits::kRevokedItems ||
                        revocation.names.size() > limits::kRevokedItems;
  m->set_everything(revocation.everything || too_many);
  if (m->everything()) return;
  for (const RevokedNode& node : revocation.nodes) {
    v1::RevokedNode* out_node = m->add_nodes();
    out_node->set_ino(node.ino.value);
    out_node->set_content(node.content);
    out_node->set_listing(node.listing);
  }
  for (const RevokedName& name : revocation.names) {
    v1::RevokedName* out_name = m->add_names();
    out_name->set_parent(name.parent.value);
    out_name->set_name(name.name);
  }
}

void to_wire(const End& frame, v1::RouterFrame* out) {
  out->mutable_end()->set_code(static_cast<uint32_t>(frame.why.code));
  out->mutable_end()->set_message(clean_text(frame.why.message, limits::kErrorTextBytes));
}

namespace {

Result<RouterFrame> revocation_from(v1::RouterFrame::Revoke&& m) {
  if (m.number() == 0) return bad("revoke.number", "is 0");
  LINKSPAN_CHECK(check_count("revoke.nodes", m.nodes_size(), limits::kRevokedItems));
  LINKSPAN_CHECK(check_count("revoke.names", m.names_size(), limits::kRevokedItems));
  Revocation revocation;
  revocation.number = m.number();
  revocation.seq = Seq(m.seq());
  revocation.everything = m.everything();
  for (const v1::RevokedNode& node : m.nodes()) {
    LINKSPAN_CHECK(check_ino("revoke.nodes.ino", node.ino()));
    revocation.nodes.push_back({Ino(node.ino()), node.content(), node.listing()});
  }
  for (v1::RevokedName& name : *m.mutable_names()) {
    LINKSPAN_CHECK(check_ino("revoke.names.parent", name.parent()));
    LINKSPAN_CHECK(check_name("revoke.names.name", name.name()));
    revocation.names.push_back({Ino(name.parent()), std::move(*name.mutable_name())});
  }
  return RouterFrame(std::move(revocation));
}

}  // namespace

Result<RouterFrame> from_wire(v1::RouterFrame&& m) {
  switch (m.frame_case()) {
    case v1::RouterFrame::kWelcome: {
      LINKSPAN_TRY(auto lease, lease_from("welcome.lease_ms", m.welcome().lease_ms()));
      return RouterFrame(Welcome{lease, m.welcome().resumed()});
    }
    case v1::RouterFrame::kRenewed: {
      LINKSPAN_TRY(auto lease, lease_from("renewed.lease_ms", m.renewed().lease_ms()));
      return RouterFrame(Renewed{m.renewed().nonce(), lease});
    }
    case v1::RouterFrame::kRevoke:
      return revocation_from(std::move(*m.mutable_revoke()));
    case v1::RouterFrame::kEnd:
      return RouterFrame(End{
          fail(code_from(m.end().code()), clean_text(m.end().message(), limits::kErrorTextBytes))});
    case v1::RouterFrame::FRAME_NOT_SET:
      break;
  }
  return bad("frame", "is missing or unknown");
}

}  // namespace linkspan::wire

#include <gmock/gmock.h>

#include "linkspan/convert_status.h"
#include "linkspan/limits.h"
#include "tests/unit/proto/wire_trip.h"

namespace linkspan::wire {
namespace {

using namespace std::chrono_literals;
using ::testing::StartsWith;

const std::string kSecret = std::string("\0\1\2\3\4\5\6\7\xff\x09jklmno", 16);

TEST(ConvertAttach, RequestKeepsEveryField) {
  const auto back =
      round_trip<v1::AttachRequest>(Attach{"lsp_x", "linkspan 0.1", SessionId(5), kSecret, 6});
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->token, "lsp_x");
  EXPECT_EQ(back->client, "linkspan 0.1");
  EXPECT_EQ(back->resume, SessionId(5));
  EXPECT_EQ(back->resume_secret, kSecret);
  EXPECT_EQ(back->resume_revocation, 6u);
}

TEST(ConvertAttach, RequestIsChecked) {
  EXPECT_THAT(refusal(round_trip<v1::AttachRequest>(
                  Attach{std::string(limits::kTokenBytes + 1, 't'), "", {}, "", 0})),
              StartsWith("invalid: token:"));
  EXPECT_THAT(refusal(round_trip<v1::AttachRequest>(Attach{"t", "", SessionId(5), "short", 0})),
              StartsWith("invalid: resume_secret:"));
  EXPECT_THAT(refusal(round_trip<v1::AttachRequest>(Attach{"t", "", SessionId(), kSecret, 0})),
              StartsWith("invalid: resume_secret:"));
  v1::AttachRequest m;
  m.set_client(std::string(limits::kLabelBytes + 1, 'c'));
  EXPECT_THAT(refusal(from_wire(m)), StartsWith("invalid: client:"));
}

TEST(ConvertAttach, AnInstanceIsWholeOrNone) {
  Attach request{"t", "", {}, "", 0, std::string(limits::kInstanceBytes, '\xff')};
  EXPECT_EQ(round_trip<v1::AttachRequest>(request)->instance, request.instance);
  request.instance.pop_back();
  EXPECT_THAT(refusal(round_trip<v1::AttachRequest>(request)), StartsWith("invalid: instance:"));
}

TEST(ConvertNarrow, RequestKeepsEveryField) {
  const Narrow ask{{"lsp_x", std::string(limits::kInstanceBytes, '\0')},
                   {{{"memory/\xff/x", Access::append_only}, {"skills", Access::none}},
                    Access::no_delete,
                    Time{7},
                    "reviewer"}};
  const auto back = round_trip<v1::NarrowRequest>(ask);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(back->proof.token, ask.proof.token);
  EXPECT_EQ(back->proof.instance, ask.proof.instance);
  ASSERT_EQ(back->request.reaches.size(), 2u);
  EXPECT_EQ(back->request.reaches[0].path, "memory/\xff/x");
  EXPECT_EQ(back->request.reaches[0].rights, Access::append_only);
  EXPECT_EQ(back->request.reaches[1].rights, Access::none);
  EXPECT_EQ(back->request.rights, Access::no_delete);
  EXPECT_EQ(back->request.expires, Time{7});
  EXPECT_EQ(back->request.sandbox, "reviewer");
}

TEST(ConvertNarrow, RequestIsChecked) {
  const auto refused = [](const std::function<void(v1::NarrowRequest*)>& change) {
    v1::NarrowRequest m;
    change(&m);
    return refusal(from_wire(m));
  };
  EXPECT_THAT(refused([](auto* m) { m->set_token(std::string(limits::kTokenBytes + 1, 't')); }),
              StartsWith("invalid: token:"));
  EXPECT_THAT(refused([](auto* m) { m->set_instance("short"); }), StartsWith("invalid: instance:"));
  EXPECT_THAT(refused([](auto* m) { m->set_sandbox(std::string(256, 's')); }),
              StartsWith("invalid: sandbox:"));
  EXPECT_THAT(refused([](auto* m) { m->set_sandbox("a/b"); }), StartsWith("invalid: sandbox:"));
  EXPECT_THAT(refused([](auto* m) { m->set_sandbox("a\nb"); }), StartsWith("invalid: sandbox:"));
  EXPECT_THAT(refused([](auto* m) { m->set_expires(-1); }), StartsWith("invalid: expires:"));
  EXPECT_THAT(refused([](auto* m) { m->set_rights(5); }), StartsWith("invalid: rights:"));
  EXPECT_THAT(refused([](auto* m) { m->add_reaches()->set_rights(1); }), StartsWith("invalid: "));
  EXPECT_THAT(refused([](auto* m) { m->add_reaches()->set_path("memory/../x"); }),
              StartsWith("invalid: "));
  EXPECT_THAT(refused([](auto* m) {
                for (size_t i = 0; i <= limits::kRoutes * limits::kReaches; ++i)
                  m->add_reaches()->set_path("m");
              }),
              StartsWith("invalid: reaches:"));
}

TEST(ConvertNarrow, ReplyKeepsEveryField) {
  NarrowReply reply;
  reply.token = "lsp_x";
  reply.routes.resize(1);
  reply.routes[0].path = "memory";
  reply.routes[0].root = Ino(16);
  reply.routes[0].reaches = {"\xff", "a/b"};
  reply.principal = "agent";
  reply.sandbox = "box/sub";
  reply.expires = Time{9};
  v1::NarrowReply m;
  to_wire(reply, &m);
  const auto back = from_wire(v1::NarrowReply(m));
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(back->token, reply.token);
  EXPECT_EQ(back->routes, reply.routes);
  EXPECT_EQ(back->principal, "agent");
  EXPECT_EQ(back->sandbox, "box/sub");
  EXPECT_EQ(back->expires, Time{9});
  m.mutable_routes(0)->add_reaches("");
  EXPECT_THAT(refusal(from_wire(v1::NarrowReply(m))), StartsWith("invalid: route.reaches:"));
  m.clear_token();
  EXPECT_THAT(refusal(from_wire(std::move(m))), StartsWith("invalid: token:"));
}

Attached some_attached() {
  Attached reply;
  reply.session = SessionId(5);
  reply.secret = kSecret;
  reply.lease = 5s;
  reply.routes = {{"memory",
                   "m",
                   VolumeId(),
                   Access::append_only,
                   Policy::reject,
                   {{"*.csv", Policy::merge},
                    {"\xc3\xa4/**", Policy::last_writer_wins},
                    {.glob = "notes/**",
                     .access = Access::none,
                     .no_exec = false,
                     .max_bytes = 0,
                     .allowed = {"*.md", "x"}}},
                   100,
                   Ino(16)},
                  {"skills/team",
                   "s",
                   VolumeId(),
                   Access::read_only,
                   Policy::last_writer_wins,
                   {},
                   200,
                   Ino(17)}};
  reply.tenant = "default";
  reply.principal = "agent";
  reply.sandbox = "s1";
  reply.router = "0.1.0 r1";
  reply.seq = Seq(8);
  reply.resumed = true;
  reply.token_expires = Time{9};
  reply.token_renew = 900s;
  return reply;
}

TEST(ConvertAttach, ReplyKeepsEveryField) {
  const Attached sent = some_attached();
  const auto back = round_trip<v1::AttachReply>(sent);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(back->session, sent.session);
  EXPECT_EQ(back->secret, sent.secret);
  EXPECT_EQ(back->lease, sent.lease);
  EXPECT_EQ(back->routes, sent.routes);
  EXPECT_EQ(back->tenant, sent.tenant);
  EXPECT_EQ(back->principal, sent.principal);
  EXPECT_EQ(back->sandbox, sent.sandbox);
  EXPECT_EQ(back->router, sent.router);
  EXPECT_EQ(back->seq, sent.seq);
  EXPECT_EQ(back->resumed, sent.resumed);
  EXPECT_EQ(back->token_expires, sent.token_expires);
  EXPECT_EQ(back->token_renew, sent.token_renew);
}

TEST(ConvertAttach, ReplyIsChecked) {
  const auto attached = [](auto edit) {
    v1::AttachReply m;
    to_wire(some_attached(), &m);
    edit(m);
    return refusal(from_wire(std::move(m)));
  };
  EXPECT_THAT(attached([](auto& m) { m.set_session(0); }), StartsWith("invalid: session:"));
  EXPECT_THAT(attached([](auto& m) { m.set_secret("short"); }), StartsWith("invalid: secret:"));
  EXPECT_THAT(attached([](auto& m) { m.set_lease_ms(0); }), StartsWith("invalid: lease_ms:"));
  EXPECT_THAT(attached([](auto& m) { m.set_lease_ms(UINT32_MAX); }),
              StartsWith("invalid: lease_ms:"));
  const auto route = [&](auto edit) {
    return attached([&](v1::AttachReply& m) { edit(*m.mutable_routes(1)); });
  };
  for (const char* path :
       {"", "/abs", "a//b", "a/", "..", "a/../b", ".linkspan", ".linkspan/x", "me\x0emo", "a\tb"})
    EXPECT_THAT(route([&](auto& m) { m.set_path(path); }), StartsWith("invalid: route.path:"));
  EXPECT_THAT(route([](auto& m) { m.set_path("memory"); }), StartsWith("invalid: routes.path:"));
  EXPECT_THAT(route([](auto& m) { m.set_policy("vote"); }), StartsWith("invalid: route.policy:"));
  const auto pattern = [&](const std::string& glob, const std::string& policy) {
    return route([&](auto& m) {
      m.add_patterns()->set_glob(glob);
      m.mutable_patterns(m.patterns_size() - 1)->set_policy(policy);
    });
  };
  EXPECT_THAT(pattern("", "merge"), StartsWith("invalid: route.pattern.glob:"));
  EXPECT_THAT(pattern(std::string(limits::kGlobBytes + 1, 'x'), "merge"),
              StartsWith("invalid: route.pattern.glob:"));
  EXPECT_THAT(pattern("*", "vote"), StartsWith("invalid: route.policy:"));
  EXPECT_THAT(route([](auto& m) {
                for (size_t i = 0; i <= limits::kPatterns; ++i) m.add_patterns()->set_glob("*");
              }),
              StartsWith("invalid: route.patterns:"));
  EXPECT_THAT(route([](auto& m) { m.set_rights(5); }), StartsWith("invalid: route.rights:"));
  EXPECT_THAT(route([](auto& m) {
                m.add_patterns()->set_glob("*");
                m.mutable_patterns(m.patterns_size() - 1)->set_access(5);
              }),
              StartsWith("invalid: route.pattern.access:"));
  EXPECT_THAT(route([](auto& m) {
                m.add_patterns()->set_glob("*");
                for (size_t i = 0; i <= limits::kAllowedNames; ++i)
                  m.mutable_patterns(m.patterns_size() - 1)->add_allowed("*");
              }),
              StartsWith("invalid: route.pattern.allowed:"));
  EXPECT_THAT(route([](auto& m) { m.set_timeout_ms(0); }),
              StartsWith("invalid: route.timeout_ms:"));
  EXPECT_THAT(route([](auto& m) { m.set_root_ino(0); }), StartsWith("invalid: route.root_ino:"));
  EXPECT_THAT(attached([](auto& m) {
                for (size_t i = 0; i < limits::kRoutes; ++i) m.add_routes();
              }),
              StartsWith("invalid: routes:"));
}

TEST(ConvertCredential, GoesThereAndBack) {
  const std::string metadata = encode_credential({SessionId(0x0123456789abcdefull), kSecret});
  EXPECT_EQ(metadata.size(), 24u);
  EXPECT_EQ(metadata.substr(0, 2), "\xef\xcd");  // little endian
  const auto back = decode_credential(metadata);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->session, SessionId(0x0123456789abcdefull));
  EXPECT_EQ(back->secret, kSecret);
}

TEST(ConvertCredential, AnythingElseIsNoSession) {
  EXPECT_EQ(decode_credential("").code(), Code::session_lost);
  EXPECT_EQ(decode_credential(std::string(23, 'x')).code(), Code::session_lost);
  EXPECT_EQ(decode_credential(std::string(25, 'x')).code(), Code::session_lost);
  EXPECT_EQ(decode_credential(std::string(24, '\0')).code(), Code::session_lost);
}

TEST(ConvertFrames, ClientFramesKeepEveryField) {
  const auto hello = round_trip<v1::ClientFrame>(ClientFrame(Hello{7}));
  ASSERT_TRUE(hello.ok());
  EXPECT_EQ(std::get<Hello>(*hello).last_revocation, 7u);
  const auto renew = round_trip<v1::ClientFrame>(ClientFrame(Renew{OpNumber(8), 9}));
  ASSERT_TRUE(renew.ok());
  EXPECT_EQ(std::get<Renew>(*renew).answered_below, OpNumber(8));
  EXPECT_EQ(std::get<Renew>(*renew).nonce, 9u);
  const auto ack = round_trip<v1::ClientFrame>(ClientFrame(Ack{10}));
  ASSERT_TRUE(ack.ok());
  EXPECT_EQ(std::get<Ack>(*ack).revocation, 10u);
  EXPECT_THAT(refusal(from_wire(v1::ClientFrame())), StartsWith("invalid: frame:"));
}

TEST(ConvertFrames, RouterFramesKeepEveryField) {
  const auto welcome = round_trip<v1::RouterFrame>(Welcome{250ms, true});
  ASSERT_TRUE(welcome.ok());
  EXPECT_EQ(std::get<Welcome>(*welcome).lease, 250ms);
  EXPECT_TRUE(std::get<Welcome>(*welcome).resumed);
  const auto renewed = round_trip<v1::RouterFrame>(Renewed{3, 5s});
  ASSERT_TRUE(renewed.ok());
  EXPECT_EQ(std::get<Renewed>(*renewed).nonce, 3u);
  EXPECT_EQ(std::get<Renewed>(*renewed).lease, 5s);
  EXPECT_TRUE(round_trip<v1::RouterFrame>(Renewed{4, 0ms}).ok());  // it has just run out
  const auto end = round_trip<v1::RouterFrame>(End{fail(Code::unauthenticated, "revoked")});
  ASSERT_TRUE(end.ok());
  EXPECT_EQ(std::get<End>(*end).why.code, Code::unauthenticated);
  EXPECT_EQ(std::get<End>(*end).why.message, "revoked");
}

Revocation some_revocation() {
  Revocation revocation;
  revocation.number = 4;
  revocation.seq = Seq(5);
  revocation.nodes = {{Ino(1), true, false}, {Ino(2), false, true}};
  revocation.names = {{Ino(2), "a\xff"}};
  return revocation;
}

TEST(ConvertFrames, RevocationsKeepEveryField) {
  const auto back = round_trip<v1::RouterFrame>(some_revocation());
  ASSERT_TRUE(back.ok());
  const auto& revocation = std::get<Revocation>(*back);
  EXPECT_EQ(revocation.number, 4u);
  EXPECT_EQ(revocation.seq, Seq(5));
  EXPECT_EQ(revocation.nodes, some_revocation().nodes);
  EXPECT_EQ(revocation.names, some_revocation().names);
  EXPECT_FALSE(revocation.everything);
}

TEST(ConvertFrames, ARevocationOfTooMuchIsOneOfEverything) {
  Revocation large = some_revocation();
  large.names.assign(limits::kRevokedItems + 1, {Ino(2), "n"});
  const auto back = round_trip<v1::RouterFrame>(large);
  ASSERT_TRUE(back.ok());
  EXPECT_TRUE(std::get<Revocation>(*back).everything);
}

TEST(ConvertFrames, RouterFramesAreChecked) {
  const auto revoke = [](auto edit) {
    v1::RouterFrame m;
    to_wire(some_revocation(), &m);
    edit(*m.mutable_revoke());
    return refusal(from_wire(std::move(m)));
  };
  EXPECT_THAT(revoke([](auto& m) { m.set_number(0); }), StartsWith("invalid: revoke.number:"));
  EXPECT_THAT(revoke([](auto& m) { m.add_nodes(); }), StartsWith("invalid: revoke.nodes.ino:"));
  EXPECT_THAT(revoke([](auto& m) { m.mutable_names(0)->set_name("/"); }),
              StartsWith("invalid: revoke.names.name:"));
  EXPECT_THAT(revoke([](auto& m) { m.mutable_names(0)->set_parent(0); }),
              StartsWith("invalid: revoke.names.parent:"));
  EXPECT_THAT(revoke([](auto& m) {
                for (size_t i = 0; i < limits::kRevokedItems; ++i) m.add_nodes()->set_ino(1);
              }),
              StartsWith("invalid: revoke.nodes:"));
  EXPECT_THAT(refusal(round_trip<v1::RouterFrame>(Welcome{2h, true})),
              StartsWith("invalid: welcome.lease_ms:"));
  EXPECT_THAT(refusal(round_trip<v1::RouterFrame>(Renewed{1, 2h})),
              StartsWith("invalid: renewed.lease_ms:"));
  EXPECT_THAT(refusal(from_wire(v1::RouterFrame())), StartsWith("invalid: frame:"));
}

TEST(ConvertStatus, EveryCodeTravelsExactly) {
  for (uint32_t number = 1; number <= static_cast<uint32_t>(Code::fenced); ++number) {
    const Error sent{static_cast<Code>(number), "why", 77};
    EXPECT_NE(status_code(sent.code), grpc::StatusCode::OK) << number;
    EXPECT_NE(status_code(sent.code), grpc::StatusCode::UNKNOWN) << number;
    const Error back = decode_error(encode_error(sent));
    EXPECT_EQ(back.code, sent.code);
    EXPECT_EQ(back.message, "why");
    EXPECT_EQ(back.head_version, 77u);
  }
}

TEST(ConvertStatus, UnknownCodesAndBrokenDetailsAreInternal) {
  EXPECT_EQ(decode_error(encode_error(Error{static_cast<Code>(9999), "new", 0})).code,
            Code::internal);
  EXPECT_EQ(decode_error(encode_error(Error{static_cast<Code>(0), "none", 0})).code,
            Code::internal);
  EXPECT_EQ(decode_error("\xff\xff\xff").code, Code::internal);
}

TEST(ConvertStatus, LongAndBinaryMessagesStillFitTheMetadata) {
  const std::string detail = encode_error(fail(Code::invalid, std::string(100000, '\xff')));
  EXPECT_LT(detail.size(), 2000u);
  EXPECT_EQ(decode_error(detail).message, std::string(limits::kErrorTextBytes, '?'));
}

TEST(ConvertStatus, StatusesWithoutDetailAreMappedByTheirCode) {
  const auto code = [](grpc::StatusCode status) {
    return error_of(grpc::Status(status, "m")).code;
  };
  EXPECT_EQ(code(grpc::StatusCode::UNAVAILABLE), Code::unavailable);
  EXPECT_EQ(code(grpc::StatusCode::DEADLINE_EXCEEDED), Code::timed_out);
  EXPECT_EQ(code(grpc::StatusCode::CANCELLED), Code::interrupted);
  EXPECT_EQ(code(grpc::StatusCode::RESOURCE_EXHAUSTED), Code::busy);
  EXPECT_EQ(code(grpc::StatusCode::UNKNOWN), Code::internal);
  EXPECT_EQ(code(grpc::StatusCode::NOT_FOUND), Code::internal);
}

TEST(ConvertStatus, WhatGrpcOnlyNamesIsSaidInWords) {
  const auto words = [](grpc::StatusCode status, const char* text) {
    return error_of(grpc::Status(status, text)).message;
  };
  EXPECT_EQ(words(grpc::StatusCode::CANCELLED, "CANCELLED"), "the call was broken off");
  EXPECT_EQ(words(grpc::StatusCode::DEADLINE_EXCEEDED, "Deadline Exceeded"), "no answer in time");
  EXPECT_EQ(words(grpc::StatusCode::UNAVAILABLE, "Socket closed"), "the connection was closed");
  EXPECT_EQ(words(grpc::StatusCode::UNAVAILABLE, "stopping"), "stopping");
}

}  // namespace
}  // namespace linkspan::wire

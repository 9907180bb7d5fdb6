// Each field of each request, out of its bounds, over raw gRPC: refused with an error that names
// the field; and at its bounds: let through. The fields come from the descriptors, their bounds
// from field_table.cc.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <set>

#include "tests/wire/hostile/field_table.h"
#include "tests/wire/hostile/hostile.h"

namespace linkspan::hostile {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::MethodDescriptor;
using google::protobuf::Reflection;
using google::protobuf::ServiceDescriptor;
using ::testing::HasSubstr;

const std::vector<const ServiceDescriptor*>& services() {
  static const std::vector<const ServiceDescriptor*> all = {
      v1::LookupRequest::descriptor()->file()->FindServiceByName("Fs"),
      v1::AttachRequest::descriptor()->file()->FindServiceByName("Session")};
  return all;
}

std::string path_of(const MethodDescriptor& method) {
  return "/" + method.service()->full_name() + "/" + method.name();
}

// Messages of the method that convert; together they have a value in every field.
std::vector<std::unique_ptr<Message>> bases(const MethodDescriptor& method);

class FieldsTest : public ::testing::Test {
 protected:
  // Frames that make the router read `message`.
  std::vector<std::string> frames(const MethodDescriptor& method, const Message& message) {
    std::vector<std::string> out;
    const auto* frame = dynamic_cast<const v1::ClientFrame*>(&message);
    if (frame && !frame->has_hello()) {
      v1::ClientFrame hello;
      hello.mutable_hello();
      out.push_back(hello.SerializeAsString());
    }
    out.push_back(message.SerializeAsString());
    return out;
  }
  // A session for each: what is let through must not be in the way of the next.
  Outcome send(const MethodDescriptor& method, const Message& message) {
    if (++sent_ % 64 == 1) client_ = std::make_unique<Client>(router_);
    return client_->call(path_of(method), frames(method, message));
  }

  Router router_{200ms * test::kSlowdown};
  std::unique_ptr<Client> client_;
  int sent_ = 0;
};

// ---- walking over the fields ----

// A field of the base, by the way to it.
struct Place {
  std::vector<const FieldDescriptor*> way;
  const FieldDescriptor* field() const { return way.back(); }
  std::string name() const {
    std::string out;
    for (const FieldDescriptor* step : way) out += (out.empty() ? "" : ".") + step->name();
    return out;
  }
};

void set_value(Message* message, const FieldDescriptor* field, const Value& value) {
  const Reflection* reflection = message->GetReflection();
  if (value.kind == Value::times) {
    ASSERT_TRUE(field->is_repeated());
    const std::unique_ptr<Message> one(reflection->GetRepeatedMessage(*message, field, 0).New());
    one->CopyFrom(reflection->GetRepeatedMessage(*message, field, 0));
    reflection->ClearField(message, field);
    for (int i = 0; i < static_cast<int>(value.is); ++i)
      reflection->AddMessage(message, field)->CopyFrom(*one);
    return;
  }
  if (value.kind == Value::text) return reflection->SetString(message, field, value.says);
  const uint64_t number = value.is;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_UINT64:
      return reflection->SetUInt64(message, field, number);
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection->SetInt64(message, field, static_cast<int64_t>(number));
    case FieldDescriptor::CPPTYPE_UINT32:
      ASSERT_LE(number, UINT32_MAX);
      return reflection->SetUInt32(message, field, static_cast<uint32_t>(number));
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection->SetEnumValue(message, field, static_cast<int>(number));
    default:
      FAIL() << field->full_name() << ": set_value() does not know its type";
  }
}

void set_at(Message* message, const Place& place, const Value& value) {
  for (size_t i = 0; i + 1 < place.way.size(); ++i) {
    const FieldDescriptor* step = place.way[i];
    const Reflection* reflection = message->GetReflection();
    message = step->is_repeated() ? reflection->MutableRepeatedMessage(message, step, 0)
                                  : reflection->MutableMessage(message, step);
  }
  set_value(message, place.field(), value);
}

// All that are there in the base, and below them.
void collect(const Message& message, const Place& above, std::vector<Place>* out) {
  const Reflection* reflection = message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message.GetDescriptor()->field(i);
    Place place = above;
    place.way.push_back(field);
    const bool is_message = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (!is_message || field->is_repeated()) out->push_back(place);
    if (!is_message) continue;
    if (field->is_repeated()) {
      if (reflection->FieldSize(message, field) > 0)
        collect(reflection->GetRepeatedMessage(message, field, 0), place, out);
    } else if (reflection->HasField(message, field)) {
      collect(reflection->GetMessage(message, field), place, out);
    }
  }
}

// Every leaf of a message's type, whatever the bases have.
void all_fields(const Descriptor& type, std::set<const FieldDescriptor*>* out) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor* field = type.field(i);
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (field->is_repeated()) out->insert(field);
      all_fields(*field->message_type(), out);
    } else {
      out->insert(field);
    }
  }
}

const Bound* bound_of(const FieldDescriptor* field) {
  const auto at = field_bounds().find(field->containing_type()->name() + "." + field->name());
  return at == field_bounds().end() ? nullptr : &at->second;
}

std::string shown(const Value& value) {
  if (value.kind == Value::text)
    return std::to_string(value.says.size()) + " bytes \"" + value.says.substr(0, 8) + "\"";
  return std::to_string(value.is) + (value.kind == Value::times ? " times" : "");
}

template <class Each>
void each_method(Each each) {
  for (const ServiceDescriptor* service : services())
    for (int i = 0; i < service->method_count(); ++i) each(*service->method(i));
}

// ---- the tests ----

TEST(Fields, EachHasALineAndAValueInABase) {
  std::set<std::string> used;
  each_method([&](const MethodDescriptor& method) {
    std::set<const FieldDescriptor*> fields, seen;
    all_fields(*method.input_type(), &fields);
    for (const auto& base : bases(method)) {
      std::vector<Place> places;
      collect(*base, {}, &places);
      for (const Place& place : places) seen.insert(place.field());
    }
    for (const FieldDescriptor* field : fields) {
      EXPECT_TRUE(seen.count(field)) << method.name() << ": no base has " << field->full_name();
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL) continue;
      const Bound* bound = bound_of(field);
      EXPECT_TRUE(bound) << field->full_name() << " has no line in field_table.cc: say its bound";
      if (!bound) continue;
      EXPECT_NE(bound->any.empty(), bound->bad.empty()) << field->full_name();
      used.insert(field->containing_type()->name() + "." + field->name());
    }
  });
  for (const auto& [name, bound] : field_bounds())
    EXPECT_TRUE(used.count(name)) << name << ": no request has such a field";
}

TEST_F(FieldsTest, TheBasesAreNotRefusedForWhatTheySay) {
  each_method([&](const MethodDescriptor& method) {
    for (const auto& base : bases(method)) {
      const Outcome outcome = send(method, *base);
      EXPECT_NE(outcome.code(), Code::invalid) << method.name() << ": " << outcome.text();
      EXPECT_TRUE(outcome.error || outcome.status.ok()) << method.name() << outcome.text();
    }
  });
}

// Each field of each base that has a bound.
template <class Each>
void each_bound(const MethodDescriptor& method, Each each) {
  for (const auto& base : bases(method)) {
    std::vector<Place> places;
    collect(*base, {}, &places);
    for (const Place& place : places)
      if (const Bound* bound = bound_of(place.field())) each(*base, place, *bound);
  }
}

std::unique_ptr<Message> with(const Message& base, const Place& place, const Value& value) {
  std::unique_ptr<Message> message(base.New());
  message->CopyFrom(base);
  set_at(message.get(), place, value);
  return message;
}

TEST_F(FieldsTest, OutOfItsBoundsEachIsRefusedByName) {
  int refused = 0;
  each_method([&](const MethodDescriptor& method) {
    each_bound(method, [&](const Message& base, const Place& place, const Bound& bound) {
      for (const Bound::Bad& bad : bound.bad) {
        const Outcome outcome = send(method, *with(base, place, bad.value));
        const std::string what = method.name() + " " + place.name() + " = " + shown(bad.value);
        EXPECT_EQ(outcome.code(), bad.code) << what << ": " << outcome.text();
        EXPECT_THAT(outcome.text(), HasSubstr(place.field()->name())) << what;
        ++refused;
      }
    });
  });
  EXPECT_GT(refused, 300);
}

TEST_F(FieldsTest, AtItsBoundsNoneIsRefused) {
  each_method([&](const MethodDescriptor& method) {
    each_bound(method, [&](const Message& base, const Place& place, const Bound& bound) {
      for (const Value& good : bound.good) {
        const Outcome outcome = send(method, *with(base, place, good));
        EXPECT_THAT(outcome.text(), ::testing::Not(HasSubstr(place.field()->name() + ":")))
            << method.name() << " " << place.name() << " = " << shown(good);
      }
    });
  });
}

// What is no message at all, and one that is longer than any may be.
TEST_F(FieldsTest, RubbishAndWhatIsTooLongIsRefusedAndNobodyElseNotices) {
  Honest honest(router_);
  const std::string rubbish[] = {std::string(64, '\xff'),
                                 std::string("\x0a\xff\xff\xff\xff\x0f", 6),
                                 std::string(10000, '\x0b')};
  each_method([&](const MethodDescriptor& method) {
    Client client(router_);
    for (const std::string& bytes : rubbish) {
      const Outcome outcome = client.call(path_of(method), {bytes});
      // gRPC tells a stream's server that the client has ended; so it ends, too.
      EXPECT_TRUE(!outcome.status.ok() || method.name() == "Stream") << method.name();
      EXPECT_TRUE(outcome.reply.empty()) << method.name();
    }
    // A field that nobody knows, so long: only its length is wrong.
    std::string long_one = "\xfa\x3f";
    for (size_t size = limits::kMessageBytes; size; size >>= 7)
      long_one += static_cast<char>((size & 127) | (size >> 7 ? 128 : 0));
    long_one += std::string(limits::kMessageBytes, 'a');
    const Outcome outcome = client.call(path_of(method), {long_one});
    EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED)
        << method.name() << ": " << outcome.text();
  });
  honest.notices_nothing();
}

// ---- the bases ----

template <class T>
std::unique_ptr<Message> one(T message) {
  return std::make_unique<T>(std::move(message));
}

v1::OpHeader op() {
  v1::OpHeader out;
  out.set_number(5);
  out.set_answered_below(2);
  return out;
}

v1::Lock lock() {
  v1::Lock out;
  out.set_ino(99);
  out.set_kind(1);
  out.set_owner(7);
  out.set_type(2);
  out.set_begin(0);
  out.set_end(10);
  out.set_pid(1);
  return out;
}

// Numbers, names and one element of every list, wherever nothing else is said below.
void fill(Message* message) {
  const Reflection* reflection = message->GetReflection();
  for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message->GetDescriptor()->field(i);
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_MESSAGE:
        if (field->message_type() == v1::OpHeader::descriptor())
          reflection->MutableMessage(message, field)->CopyFrom(op());
        break;
      case FieldDescriptor::CPPTYPE_UINT64:
        reflection->SetUInt64(message, field, 99);
        break;
      case FieldDescriptor::CPPTYPE_INT64:
        reflection->SetInt64(message, field, 99);
        break;
      case FieldDescriptor::CPPTYPE_UINT32:
        reflection->SetUInt32(message, field, 4);
        break;
      case FieldDescriptor::CPPTYPE_STRING:
        reflection->SetString(message, field, "name");
        break;
      default:
        break;
    }
  }
}

std::vector<std::unique_ptr<Message>> bases(const MethodDescriptor& method) {
  const Descriptor* type = method.input_type();
  std::unique_ptr<Message> message(
      google::protobuf::MessageFactory::generated_factory()->GetPrototype(type)->New());
  fill(message.get());
  std::vector<std::unique_ptr<Message>> out;
  if (auto* create = dynamic_cast<v1::CreateRequest*>(message.get())) {
    create->set_kind(v1::KIND_SYMLINK);
  } else if (auto* commit = dynamic_cast<v1::CommitPart*>(message.get())) {
    fill(commit->mutable_head());
    v1::Extent* extent = commit->add_extents();
    extent->set_length(3);
    extent->set_data("abc");
  } else if (auto* set = dynamic_cast<v1::SetLockRequest*>(message.get())) {
    *set->mutable_lock() = lock();
    set->set_number(5);
    set->set_answered_below(2);
    set->set_wait(0);
  } else if (auto* cancel = dynamic_cast<v1::CancelLockRequest*>(message.get())) {
    cancel->set_number(5);
    cancel->set_answered_below(2);
  } else if (auto* test = dynamic_cast<v1::TestLockRequest*>(message.get())) {
    *test->mutable_lock() = lock();
  } else if (auto* reclaim = dynamic_cast<v1::ReclaimLocksRequest*>(message.get())) {
    *reclaim->add_locks() = lock();
  } else if (auto* attach = dynamic_cast<v1::AttachRequest*>(message.get())) {
    attach->set_token("lsp_a");
    attach->set_resume_secret(std::string(limits::kSecretBytes, 's'));
    attach->clear_instance();
  } else if (auto* narrow = dynamic_cast<v1::NarrowRequest*>(message.get())) {
    narrow->set_token("lsp_a");
    narrow->clear_instance();
    narrow->set_expires(0);
    fill(narrow->add_reaches());
    narrow->mutable_reaches(0)->set_path("memory");
  } else if (dynamic_cast<v1::ClientFrame*>(message.get())) {
    v1::ClientFrame hello, renew, ack;
    fill(hello.mutable_hello());
    fill(renew.mutable_renew());
    fill(ack.mutable_ack());
    out.push_back(one(hello));
    out.push_back(one(renew));
    out.push_back(one(ack));
    return out;
  }
  out.push_back(std::move(message));
  return out;
}

}  // namespace
}  // namespace linkspan::hostile

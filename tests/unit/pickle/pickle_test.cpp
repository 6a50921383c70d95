#include "titan/pickle/pickle.h"

#include <gtest/gtest.h>

#include <span>
#include <string>

#include "tests/unit/checkpoint/expect_refused.h"

namespace titan::pickle {
namespace {

using namespace std::string_literals;
using Kind = PickleValue::Kind;

bool knows_size(std::string_view global) { return global == "torch Size"; }

Pickle parse(const std::string& bytes) {
  return Pickle(std::as_bytes(std::span(bytes)), "file", /*file_offset=*/100, knows_size);
}

void refused(const std::string& bytes, const std::string& reason) {
  checkpoint::expect_refused([&] { parse(bytes); }, reason);
}

TEST(Pickle, ReadsPlainValues) {
  // (None, True, False, 255, 65535, -2, 2**40, "ab", ["c"], {"k": 1})
  const auto pickle = parse(
      "\x80\x04(N\x88\x89K\xffM\xff\xffJ\xfe\xff\xff\xff\x8a\x06\0\0\0\0\0\x01\x8c\x02"
      "ab]\x8c\x01"
      "ca}\x8c\x01kK\x01st."s);
  const auto& items = pickle.sequence(pickle.root());
  ASSERT_EQ(items.size(), 10u);
  EXPECT_EQ(items[0]->kind, Kind::kNone);
  EXPECT_EQ(items[1]->integer, 1);
  EXPECT_EQ(items[2]->integer, 0);
  EXPECT_EQ(pickle.integer(*items[3]), 255);
  EXPECT_EQ(pickle.integer(*items[4]), 65535);
  EXPECT_EQ(pickle.integer(*items[5]), -2);
  EXPECT_EQ(pickle.integer(*items[6]), int64_t{1} << 40);
  EXPECT_EQ(pickle.string(*items[7]), "ab");
  EXPECT_EQ(pickle.string(*pickle.sequence(*items[8])[0]), "c");
  EXPECT_EQ(pickle.integer(*pickle.dict(*items[9])[1]), 1);
}

TEST(Pickle, ReadsLongIntegersOfEverySize) {
  const auto value = [](const std::string& digits) {
    const auto pickle = parse("\x80\x02\x8a"s + static_cast<char>(digits.size()) + digits + ".");
    return pickle.integer(pickle.root());
  };
  EXPECT_EQ(value(""), 0);
  EXPECT_EQ(value("\xff"s), -1);
  EXPECT_EQ(value("\xff\0"s), 255);
  EXPECT_EQ(value("\0\0\0\0\0\0\0\x80"s), INT64_MIN);
  refused("\x80\x02\x8a\x09\0\0\0\0\0\0\0\0\0."s, "at most 64 bits");
}

TEST(Pickle, NotesCallsWithoutMakingThem) {
  const auto pickle = parse(
      "\x80\x02"
      "ctorch\nSize\nK\x02K\x03\x86\x85R."s);
  const auto& arguments = pickle.call(pickle.root(), "torch Size");
  EXPECT_EQ(pickle.integer(*pickle.sequence(*arguments.at(0)).at(1)), 3);
  checkpoint::expect_refused([&] { pickle.call(pickle.root(), "torch Other"); }, "expected an object of 'torch Other'");
  checkpoint::expect_refused([&] { pickle.dict(pickle.root()); }, "file: byte 120: expected a dict, got an object");
}

TEST(Pickle, RefusesOtherGlobalsByName) {
  refused(
      "\x80\x02"
      "cos\nsystem\n\x8c\x02ls\x85R."s,
      "the global 'os system' is not one");
  refused(
      "\x80\x04\x8c\x08"
      "builtins\x8c\x04"
      "eval\x93."s,
      "the global 'builtins eval' is not one");
  // getattr is read for one enum only.
  refused(
      "\x80\x02"
      "cbuiltins\ngetattr\nctorch\nSize\n\x8c\x01x\x86R."s,
      "'builtins getattr' is not one");
}

TEST(Pickle, RefusesOtherOpcodesByNumber) {
  for (const char opcode :
       {'i', 'o', 'P', 'I', 'L', 'S', 'V', 'F', 'd', 'l', 'g', 'p', '0', '1', '2', '\x82', '\x92'}) {
    refused("\x80\x02"s + opcode, "is not one that checkpoints are written with");
  }
  refused("\x80\x02\x82"s, "byte 102: opcode 0x82");  // an extension registry's object
}

TEST(Pickle, RefusesBrokenStreams) {
  refused("", "expected 1 more bytes, got 0");
  refused("\x80\x04"s, "expected 1 more bytes, got 0");
  refused("\x80\x01."s, "expected pickle protocol 2 to 5, got 1");
  refused("\x80\x04."s, "the stack is empty");
  refused("\x80\x04NN."s, "expected one value at the end");
  refused("\x80\x04(N."s, "expected one value at the end");
  refused("\x80\x04Nt."s, "no mark is open");
  refused("\x80\x04N(\x85."s, "the stack is empty");  // may not reach below the mark
  refused("\x80\x04h\x07."s, "memo 7 was never written");
  refused(
      "\x80\x04\x8c\x05"
      "ab."s,
      "expected 5 more bytes, got 3");
  refused("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff."s, "expected 18446744073709551615 more bytes");
  refused("\x80\x04NNa."s, "expected a list to add to, got None");
  refused("\x80\x04}(Nu."s, "expected a value for each key");
  refused("\x80\x04N}b."s, "expected an object without a state");
  refused("\x80\x04NNR."s, "expected a global and its arguments");
  refused(
      "\x80\x04"
      "cno line end"s,
      "expected a line end");
  refused("\x80\x04"s + std::string(65, '('), "expected at most 64 nested marks");
}

// Values may contain themselves, and nest as deep as the pickle is long: nothing here recurses over them.
TEST(Pickle, SurvivesCyclesAndDeepNesting) {
  const auto cycle = parse("\x80\x02]q\0h\0a."s);
  EXPECT_EQ(cycle.sequence(cycle.root()).at(0), &cycle.root());
  parse("\x80\x02N"s + std::string(1'000'000, '\x85') + ".");
}

}  // namespace
}  // namespace titan::pickle

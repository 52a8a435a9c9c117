//! The cases, in the order of their names. See `acceptance.rs` for the lines.

use crate::{Case, Mirror};

const fn case(name: &'static str, mirror: Mirror, script: &'static str) -> Case {
    Case { name, mirror, script }
}

/// All 59 server definitions for FIX 4.4, by the names of their files.
pub(crate) const CASES: [Case; 59] = [
    // SequenceReset as gap fill
    case(
        "10_MsgSeqNumEqual",
        Mirror::Same,
        "logon 30
        > 4 2 123=Y 36=20
        > 1 20 112=HI
        < 0 2 112=HI
        logout 3 3",
    ),
    case(
        "10_MsgSeqNumGreater",
        Mirror::Same,
        "logon 30
        > 4 10 123=Y 36=20
        < 2 2 7=2 16=0
        > 1 20 112=HI
        logout 2 3",
    ),
    case(
        "10_MsgSeqNumLess",
        Mirror::Same,
        "logon 30
        > 4 1 dup 123=Y 36=20
        > 1 2 112=HI
        < 0 2 112=HI
        > 4 1 123=Y 36=20
        < 5 3
        closed",
    ),
    // SequenceReset as reset
    case(
        "11a_NewSeqNoGreater",
        Mirror::Same,
        "logon 30
        > 4 0 36=25
        > 1 25 112=HI
        < 0 2 112=HI
        > 4 0 123=N 36=50
        > 1 50 112=HI
        < 0 3 112=HI
        logout 51 4",
    ),
    case(
        "11b_NewSeqNoEqual",
        Mirror::Same,
        "logon 30
        > 4 0 36=2
        > 1 2 112=HI
        < 0 2 112=HI
        > 4 0 123=N 36=4
        > 1 4 112=HI
        < 0 3 112=HI
        logout 5 4",
    ),
    case(
        "11c_NewSeqNoLess",
        Mirror::Same,
        "logon 30
        > 4 0 36=1
        < 3 2 45=0 +371=36 372=4 373=5
        > 1 2 112=HI
        < 0 3 112=HI
        > 4 0 123=N 36=1
        < 3 4 45=0 +371=36 372=4 373=5
        > 1 3 112=HI
        < 0 5 112=HI
        logout 4 6",
    ),
    case(
        "13b_UnsolicitedLogoutMessage",
        Mirror::Same,
        "logon 30
        logout 2 2",
    ),
    // Malformed messages
    case(
        "14a_BadField",
        Mirror::Same,
        "strict
        logon 2
        > 0 2 999=HI
        < 3 2 45=2 371=999 372=0 373=0
        > 0 3 0=HI
        < 3 3 45=3 371=0 372=0 373=0
        > 0 4 -1=HI
        < 3 4 45=4 371=-1 372=0 373=0
        > 0 5 5000=HI
        < 3 5 45=5 371=5000 372=0 373=0
        logout 6 6",
    ),
    case(
        "14b_RequiredFieldMissing",
        Mirror::Same,
        "logon 2
        > 0 2 56=-
        < 3 2 45=2 371=56 372=0 373=1
        > D 3 11=A 54=1 60=@0 40=1
        < 3 3 45=3 371=55 372=D 373=1
        logout 4 4",
    ),
    case(
        "14c_TagNotDefinedForMsgType",
        Mirror::Same,
        "logon 2
        > 0 2 55=ALFA
        < 3 2 45=2 371=55 372=0 373=2
        logout 3 3",
    ),
    case(
        "14d_TagSpecifiedWithoutValue",
        Mirror::Same,
        "logon 2
        > 0 2 56=
        < 3 2 45=2 371=56 372=0 373=4
        logout 3 3",
    ),
    case(
        "14e_IncorrectEnumValue",
        Mirror::Same,
        "logon 2
        > D 2 order:A 21=4
        < 3 2 45=2 371=21 372=D 373=5
        > D 3 order:A 167=BOO
        < 3 3 45=3 371=167 372=D 373=5
        > D 4 order:A 21=1 167=CS
        < D 4 order:A 21=1 167=CS
        logout 5 5",
    ),
    case(
        "14f_IncorrectDataFormat",
        Mirror::Same,
        "logon 2
        > D 2 11=A 55=ALFA 54=1 60=@0 40=1 38=+200.00
        < 3 2 45=2 371=38 372=D 373=6
        logout 3 3",
    ),
    case(
        "14g_HeaderBodyTrailerFieldsOutOfOrder",
        Mirror::Same,
        "logon 2
        exactly 35=D 11=A 38=100 40=1 54=1 55=ALFA 60=@0 34=2 49=THEM 52=@0 56=US
        < 3 2 45=2 371=34 372=D 373=14
        exactly 35=D 55=ALFA 34=3 49=THEM 52=@0 56=US 11=A 38=100 40=1 54=1 60=@0
        < 3 3 45=3 371=34 372=D 373=14
        logout 4 4",
    ),
    case(
        "14h_RepeatedTag",
        Mirror::Same,
        "logon 2
        > D 2 11=A 40=1 40=2 54=1 38=200 55=ALFA
        < 3 2 45=2 371=40 372=D 373=13
        logout 3 3",
    ),
    case(
        "14i_RepeatingGroupCountNotEqual",
        Mirror::Same,
        "logon 2
        > D 2 order:A 386=3 336=EARLY 336=LATE
        < 3 2 45=2 371=386 372=D 373=16
        logout 3 3",
    ),
    case(
        "15_HeaderAndBodyFieldsOrderedDifferently",
        Mirror::Same,
        "logon 2
        > D 2 order:A
        < D 2 order:A
        exactly 35=D 49=THEM 34=3 56=US 52=@0 40=1 55=ALFA 60=@0 54=1 38=100 11=B
        < D 3 order:B
        logout 4 4",
    ),
    // Possible resends: what was seen is the application's to know
    case(
        "19a_PossResendMessageThatHAsAlreadyBeenSent",
        Mirror::Same,
        "logon 2
        > D 2 order:A
        < D 2 order:A
        > D 3 97=Y order:A
        logout 4 3",
    ),
    case(
        "19b_PossResendMessageThatHasNotBeenSent",
        Mirror::Same,
        "logon 2
        > D 2 97=Y order:A
        < D 2 97=Y order:A
        logout 3 3",
    ),
    // Logons
    case(
        "1a_ValidLogonMsgSeqNumTooHigh",
        Mirror::Same,
        "logon 30 5
        < 2 2 7=1 16=0
        logout 6 3",
    ),
    case(
        "1a_ValidLogonWithCorrectMsgSeqNum",
        Mirror::Same,
        "logon 30
        next 2
        cut",
    ),
    case(
        "1b_DuplicateIdentity",
        Mirror::None,
        "logon 30
        second
        cut",
    ),
    case("1c_InvalidSenderCompID", Mirror::Answer, "> A 1 49=WHO 98=0 108=30\nclosed"),
    case("1c_InvalidTargetCompID", Mirror::Answer, "> A 1 56=WHO 98=0 108=30\nclosed"),
    case("1d_InvalidLogonBadSendingTime", Mirror::Answer, "> A 1 52=20010101-00:00:00 98=0 108=30\nclosed"),
    case("1d_InvalidLogonLengthInvalid", Mirror::Answer, "bad length=40 A 1 98=0 108=30\nclosed"),
    case("1d_InvalidLogonWrongBeginString", Mirror::Answer, "bad version=FIX.3.9 A 1 98=0 108=30\nclosed"),
    case("1e_NotLogonMessage", Mirror::Answer, "> 0 1 56=WHO\nclosed"),
    case(
        "20_SimultaneousResendRequest",
        Mirror::Same,
        "logon 30
        > D 2 order:A
        < D 2 order:A
        > D 3 order:B
        < D 3 order:B
        > 0 7
        < 2 4 7=4 16=0
        > 2 8 7=2 16=3
        < D 2 43=Y order:A
        < D 3 43=Y order:B
        > 0 4 dup
        > 0 5 dup
        > 0 6 dup
        logout 7 5",
    ),
    case(
        "21_RepeatingGroupSpecifierWithValueOfZero",
        Mirror::Same,
        "logon 2
        > d 2 320=Q1 322=R1 323=6 55=ALFA 22=8 167=CS 336=MAIN 454=0
        < d 2 320=Q1 322=R1 323=6 55=ALFA 22=8 167=CS 336=MAIN 454=0
        logout 3 3",
    ),
    // Numbers
    case(
        "2a_MsgSeqNumCorrect",
        Mirror::Same,
        "logon 30
        > 0 2
        > 0 3
        > 0 4
        > 0 5
        logout 6 2",
    ),
    case(
        "2b_MsgSeqNumTooHigh",
        Mirror::Same,
        "logon 30
        > 0 2
        > 0 3
        > 0 4
        > 0 10
        < 2 2 7=5 16=0
        > 0 5
        > 0 6
        > 0 7
        > 0 8
        > 0 9
        next 11
        logout 11 3",
    ),
    case(
        "2c_MsgSeqNumTooLow",
        Mirror::Same,
        "logon 30
        > 0 2
        > 0 3
        > 0 4
        > 0 2
        < 5 2
        closed",
    ),
    case(
        "2d_GarbledMessage",
        Mirror::Same,
        "logon 30
        bad separator 0 2
        > 0 2
        bad separator D 3 order:A
        > 0 4
        < 2 2 7=3 16=0
        > D 3 order:A
        < D 3 order:A
        logout 5 4",
    ),
    case(
        "2e_PossDupAlreadyReceived",
        Mirror::Same,
        "logon 30
        > 0 2
        > 0 2 dup 112=X
        > 0 3
        logout 4 2",
    ),
    case(
        "2e_PossDupNotReceived",
        Mirror::Same,
        "logon 30
        > 0 2
        > 0 2 dup
        > 0 3 dup
        next 4
        logout 4 2",
    ),
    case(
        "2f_PossDupOrigSendingTimeTooHigh",
        Mirror::Same,
        "logon 30
        > D 2 order:A
        < D 2 order:A
        > D 3 order:B
        < D 3 order:B
        > D 2 43=Y 122=@10 order:A
        < 3 4 45=2 +371=122 372=D 373=10
        < 5 5
        closed
        > 5 4
        next 4",
    ),
    case(
        "2g_PossDupNoOrigSendingTime",
        Mirror::Same,
        "logon 30
        > D 2 order:A
        < D 2 order:A
        > D 3 order:B
        < D 3 order:B
        > D 2 43=Y order:A
        < 3 4 45=2 371=122 372=D 373=1
        > 1 4 112=HI
        < 0 5 112=HI
        logout 5 6",
    ),
    // Headers
    case(
        "2i_BeginStringValueUnexpected",
        Mirror::Same,
        "logon 30
        bad version=FIX.4.1 1 2 112=HI
        < 5 2
        closed
        > 5 3
        anew
        logon 30
        bad version=FIX.4.1 1 2 112=HI
        < 5 2
        closed",
    ),
    case(
        "2k_CompIDDoesNotMatchProfile",
        Mirror::Same,
        "logon 30
        > D 2 49=WHO order:A
        < 3 2 45=2 +371=49 372=D 373=9
        < 5 3
        closed
        > 5 3
        next 3
        anew
        logon 30
        > D 2 56=WHO order:A
        < 3 2 45=2 +371=56 372=D 373=9
        < 5 3
        closed
        next 3
        anew
        logon 30
        > D 2 49=WHO 56=WHO order:A
        < 3 2 45=2 +371=49 372=D 373=9
        < 5 3
        closed
        next 3",
    ),
    case(
        "2m_BodyLengthValueNotCorrect",
        Mirror::Same,
        "logon 30
        bad length=30 D 2 order:A
        > D 3 order:B
        < 2 2 7=2 16=0
        > D 2 order:A
        < D 3 order:A
        < D 4 order:B
        bad length+10 D 4 order:C
        > D 5 order:D
        ~ < 2 5 7=4 16=0
        > D 4 dup order:C
        < D 6 order:C
        < D 7 order:D
        > D 5 dup order:D
        logout 7 8",
    ),
    case(
        "2o_SendingTimeValueOutOfRange",
        Mirror::Same,
        "logon 30
        > 0 2 52=@-121
        < 3 2 45=2 +371=52 372=0 373=10
        < 5 3
        closed
        > 5 3
        next 3
        anew
        logon 30
        > 0 2 52=@121
        < 3 2 45=2 +371=52 372=0 373=10
        < 5 3
        closed
        next 3",
    ),
    case(
        "2q_MsgTypeNotValid",
        Mirror::Same,
        "logon 30
        > * 2
        < 3 2 45=2 +371=35 372=* 373=11
        logout 3 3",
    ),
    case(
        "2r_UnregisteredMsgType",
        Mirror::Same,
        "logon 30
        > 8 2 37=a 17=b 150=0 39=0 55=ALFA 54=1 151=100 14=0 6=0.0
        < j 2 45=2 372=8 380=3
        logout 3 3",
    ),
    case(
        "2t_FirstThreeFieldsOutOfOrder",
        Mirror::Same,
        "logon 30
        bad first 0 2
        > 1 2 112=HI
        < 0 2 112=HI
        exactly 34=3 35=0 49=THEM 52=@0 56=US
        > 1 3 112=HI
        < 0 3 112=HI
        logout 4 4",
    ),
    case(
        "3b_InvalidChecksum",
        Mirror::Same,
        "logon 30
        bad sum 0 2
        > 0 2
        bad sum D 3 order:A
        > 0 4
        < 2 2 7=3 16=0
        > D 3 order:A
        < D 3 order:A
        logout 4 4",
    ),
    case(
        "3c_GarbledMessage",
        Mirror::Same,
        "logon 30
        bad separator 0 2
        > 0 2
        bad separator D 3 order:A
        > 0 4
        < 2 2 7=3 16=0
        > D 3 order:A 112=X
        < 3 3 45=3 371=112 372=D 373=2
        next 5
        cut",
    ),
    // Times
    case(
        "4a_NoDataSentDuringHeartBtInt",
        Mirror::Same,
        "logon 3
        wait 2900
        wait 100
        < 0 2
        > 0 2
        wait 2900
        wait 100
        < 0 3
        > 0 3
        logout 4 4",
    ),
    case(
        "4b_ReceivedTestRequest",
        Mirror::Same,
        "logon 30
        > 1 2 112=HI
        < 0 2 112=HI
        logout 3 3",
    ),
    case(
        "6_SendTestRequest",
        Mirror::Same,
        "logon 3
        wait 3000
        < 0 2
        > 0 2
        wait 3000
        < 0 3
        wait 500
        open
        wait 100
        < 1 4 112=?
        > 0 3 112=?
        wait 3000
        < 0 5
        > 0 4
        wait 3000
        < 0 6
        wait 500
        open
        wait 100
        < 1 7 112=?
        wait 2900
        open
        wait 100
        ~ < 0 8
        wait 500
        open
        wait 100
        closed",
    ),
    case(
        "7_ReceiveRejectMessage",
        Mirror::Same,
        "logon 30
        > 3 2 45=1
        logout 3 2",
    ),
    // Resends
    case(
        "8_AdminAndApplicationMessages",
        Mirror::Same,
        "logon 30
        > 1 2 112=HI
        < 0 2 112=HI
        > 1 3 112=HI
        < 0 3 112=HI
        > 1 4 112=HI
        < 0 4 112=HI
        > D 5 order:A
        < D 5 order:A
        > D 6 order:B
        < D 6 order:B
        > 1 7 112=HI
        < 0 7 112=HI
        > 1 8 112=HI
        < 0 8 112=HI
        > D 9 order:C
        < D 9 order:C
        > 2 10 7=2 16=4
        < 4 2 43=Y 123=Y 36=5
        > 2 11 7=2 16=6
        < 4 2 43=Y 123=Y 36=5
        < D 5 43=Y order:A
        < D 6 43=Y order:B
        > 2 12 7=2 16=8
        < 4 2 43=Y 123=Y 36=5
        < D 5 43=Y order:A
        < D 6 43=Y order:B
        < 4 7 43=Y 123=Y 36=9
        > 2 13 7=2 16=9
        < 4 2 43=Y 123=Y 36=5
        < D 5 43=Y order:A
        < D 6 43=Y order:B
        < 4 7 43=Y 123=Y 36=9
        < D 9 43=Y order:C
        > 2 14 7=2 16=0
        < 4 2 43=Y 123=Y 36=5
        < D 5 43=Y order:A
        < D 6 43=Y order:B
        < 4 7 43=Y 123=Y 36=9
        < D 9 43=Y order:C
        > 1 15 112=HI
        < 0 10 112=HI
        logout 16 11",
    ),
    case(
        "8_OnlyAdminMessages",
        Mirror::Same,
        "logon 30
        > 1 2 112=HI
        < 0 2 112=HI
        > 1 3 112=HI
        < 0 3 112=HI
        > 1 4 112=HI
        < 0 4 112=HI
        > 2 5 7=1 16=4
        < 4 1 43=Y 123=Y 36=5
        > 1 6 112=HI
        < 0 5 112=HI
        > 2 7 7=1 16=0
        < 4 1 43=Y 123=Y 36=6
        > 2 5 7=1 16=0
        ~ < 5 6
        closed",
    ),
    case(
        "8_OnlyApplicationMessages",
        Mirror::Same,
        "logon 30
        > D 2 order:A
        < D 2 order:A
        > D 3 order:B
        < D 3 order:B
        > D 4 order:C
        < D 4 order:C
        > 2 5 7=2 16=4
        < D 2 43=Y order:A
        < D 3 43=Y order:B
        < D 4 43=Y order:C
        > 1 6 112=HI
        < 0 5 112=HI
        > 2 7 7=2 16=0
        < D 2 43=Y order:A
        < D 3 43=Y order:B
        < D 4 43=Y order:C
        < 4 5 43=Y 123=Y 36=6
        logout 8 6",
    ),
    case(
        "AlreadyLoggedOn",
        Mirror::None,
        "logon 30
        second
        logout 2 2",
    ),
    case(
        "RejectResentMessage",
        Mirror::Same,
        "logon 30
        > 1 3 112=ONE
        < 2 2 7=2 16=0
        > D 2 dup order:A 126=20040415
        < 3 3 45=2 371=126 372=D 373=6
        > 1 4 112=TWO
        < 0 4 112=ONE
        < 0 5 112=TWO
        logout 11 6",
    ),
    case(
        "ReverseRoute",
        Mirror::Same,
        "logon 30
        > D 2 115=J 11=A 55=ALFA 54=1 60=@0 38=100 40=w
        < 3 2 128=J 45=2 371=40 372=D 373=5
        > D 3 128=J 11=A 55=ALFA 54=1 60=@0 38=100 40=w
        < 3 3 115=J 45=3 371=40 372=D 373=5
        > D 4 115=J 116=K 11=A 55=ALFA 54=1 60=@0 38=100 40=w
        < 3 4 128=J 129=K 45=4 371=40 372=D 373=5
        > D 5 128=J 129=K 11=A 55=ALFA 54=1 60=@0 38=100 40=w
        < 3 5 115=J 116=K 45=5 371=40 372=D 373=5
        > D 6 115=J 116=K 144=L 11=A 55=ALFA 54=1 60=@0 38=100 40=w
        < 3 6 128=J 129=K 145=L 45=6 371=40 372=D 373=5
        > D 7 128=J 129=K 145=L 11=A 55=ALFA 54=1 60=@0 38=100 40=w
        < 3 7 115=J 116=K 144=L 45=7 371=40 372=D 373=5
        logout 8 8",
    ),
    case(
        "ReverseRouteWithEmptyRoutingTags",
        Mirror::Same,
        "logon 30
        > D 2 115= order:A
        < 3 2 45=2 371=115 372=D 373=4
        > D 3 128= order:A
        < 3 3 45=3 371=128 372=D 373=4
        > D 4 115=J 116= order:A
        < 3 4 128=J 45=4 371=116 372=D 373=4
        > D 5 128=J 129= order:A
        < 3 5 115=J 45=5 371=129 372=D 373=4
        > D 6 115=J 116=K 144= order:A
        < 3 6 128=J 129=K 45=6 371=144 372=D 373=4
        > D 7 128=J 129=K 145= 11=A 55=ALFA 54=1 60=@0 38=100 40=w
        < 3 7 115=J 116=K 45=7 371=145 372=D 373=4
        logout 8 8",
    ),
    case(
        "SessionReset",
        Mirror::Same,
        "logon 30
        > 0 2
        > 0 3
        > 0 4
        > 0 5
        > 0 6
        > 0 7
        > 0 8
        > 0 9
        > 1 10 112=HI
        < 0 2 112=HI
        > A 1 98=0 108=30 141=Y
        < A 1 98=0 108=30 141=Y
        > 1 2 112=HI
        < 0 2 112=HI
        logout 3 3",
    ),
];

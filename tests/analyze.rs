//! `serin analyze` as a person runs it: figures against a pencil, against the report itself, and every bad file.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected has failed")]

use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use serde_json::Value as Json;
use serin::{
    collector::cells::Cell,
    domain::{
        id::{MetricKey, VariantName},
        metric::{Goal, Measure, MeasureSource, MetricKind},
    },
    report::{ArmInput, MetricInput, Stratum, correct, metric_report},
    routing::hash::analysis_hash,
};
use std::{
    borrow::Cow,
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};
use tempfile::TempDir;

struct Ran {
    code: i32,
    out: String,
    errors: String,
}

fn serin(arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_serin"))
        .arg("analyze")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The program may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input);
    let done = child.wait_with_output().unwrap();
    Ran {
        code: done.status.code().unwrap(),
        out: String::from_utf8(done.stdout).unwrap(),
        errors: String::from_utf8(done.stderr).unwrap(),
    }
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn json(file: &str, options: &[&str]) -> Json {
    let ran = serin(&[&[file, "--json"], options].concat(), b"");
    assert_eq!((ran.code, ran.errors.as_str()), (0, ""), "{options:?}");
    serde_json::from_str(&ran.out).unwrap()
}

fn fails(arguments: &[&str], told: &str) {
    let ran = serin(arguments, b"");
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.errors);
    assert!(ran.errors.contains(told), "{told:?} is not in {:?}", ran.errors);
}

const HEADING: &str = "unit,variant,metric,value\n";

/// One request each of 40 users per variant: minutes 0 to 3, and one more with the candidate. They cycle, so that means
/// are 1.5 and 2.5, and both variances 50/39.
fn pencil() -> String {
    let mut text = HEADING.to_owned();
    for (variant, base) in [("control", 0), ("friendly", 1)] {
        for user in 0..40 {
            writeln!(text, "{variant}-{user},{variant},minutes,{}", base + user % 4).unwrap();
        }
    }
    text
}

fn close(value: &Json, expected: f64) {
    let found = value.as_f64().unwrap_or(f64::NAN);
    assert!(
        (found - expected).abs() < 1e-6 * expected.abs().max(1e-3),
        "{value} is not {expected}"
    );
}

#[test]
fn figures_are_those_of_a_pencil() {
    let folder = Folder::new();
    let file = folder.file("minutes.csv", pencil());
    let answer = json(&file, &["--goal", "minutes=decrease", "--min-units", "10"]);
    assert_eq!(
        (answer["rows"].as_u64(), answer["skipped"].as_u64()),
        (Some(80), Some(0))
    );
    assert_eq!(
        (&answer["control"], &answer["randomised"]),
        (&"control".into(), &"units".into())
    );
    assert_eq!(
        answer["units"],
        serde_json::json!({"control": 40, "friendly": 40})
    );
    let metric = &answer["metrics"][0];
    assert_eq!(
        (&metric["kind"], &metric["goal"]),
        (&"mean".into(), &"decrease".into())
    );
    assert_eq!(metric["primary"], true, "a single metric decides");
    close(&metric["variants"][0]["mean"], 1.5);
    // Users that fell into one bucket count as one there, so the mean is exact and the error is near, not equal.
    let versus = &metric["variants"][1]["vs_control"];
    close(&versus["difference"], 1.0);
    close(&versus["relative"], 2.0 / 3.0);
    let t = versus["t"].as_f64().unwrap();
    assert!((t / 3.949_683_5 - 1.0).abs() < 0.1, "{t}");
    assert!(
        answer["srm"]["p"]["undefined"]
            .as_str()
            .unwrap()
            .contains("not checked")
    );
}

/// Many requests of 400 users, 200 each, with an effect, in the order of time.
fn traffic(paired: bool) -> Vec<(String, &'static str, &'static str, f64, i64, f64)> {
    let mut rows = Vec::new();
    for request in 0..6_000_u64 {
        let draw = serin::routing::hash::mix(request + 1);
        let user = draw % 400;
        let arm = if paired { draw >> 20 & 1 } else { user & 1 };
        let variant = ["control", "friendly"][arm as usize];
        let taste = (serin::routing::hash::mix(user + 77) >> 40) as f64 / f64::from(1 << 24);
        let luck = (serin::routing::hash::mix(request + 999) >> 40) as f64 / f64::from(1 << 24);
        let resolved = luck < 0.2 + 0.5 * taste + 0.1 * arm as f64;
        let at = 1_795_000_000 + request as i64 * 120;
        let unit = format!("u-{user}");
        rows.push((
            unit.clone(),
            variant,
            "resolved",
            f64::from(u8::from(resolved)),
            at,
            taste,
        ));
        let latency = (500.0 + 800.0 * luck + 300.0 * taste).round();
        rows.push((unit, variant, "latency_ms", latency, at, taste));
    }
    rows
}

fn text(rows: &[(String, &str, &str, f64, i64, f64)]) -> String {
    let mut text = String::from("unit,variant,metric,value,time,covariate\n");
    for (unit, variant, metric, value, at, taste) in rows {
        writeln!(text, "{unit},{variant},{metric},{value},{at},{taste}").unwrap();
    }
    text
}

#[test]
fn figures_are_those_of_the_report() {
    let rows = traffic(false);
    let folder = Folder::new();
    let file = folder.file("rows.csv", text(&rows));
    let answer = json(
        &file,
        &[
            "--primary",
            "resolved",
            "--mde",
            "0.1",
            "--cap",
            "latency_ms=1500",
        ],
    );

    let names = ["control", "friendly"].map(|name| VariantName::new(name).unwrap());
    let measures = [
        ("resolved", MetricKind::Rate, Goal::Increase, None, true),
        (
            "latency_ms",
            MetricKind::Mean,
            Goal::Decrease,
            Some(1500.0),
            false,
        ),
    ];
    let mut reports = Vec::new();
    for (key, (name, kind, goal, cap, primary)) in (0..).zip(measures) {
        let mut cells = [Cell::default(), Cell::default()];
        for (unit, variant, _, value, _, taste) in rows.iter().filter(|row| row.2 == name) {
            let hash = analysis_hash(unit.as_bytes());
            let cell = &mut cells[usize::from(*variant == "friendly")];
            cell.add(hash, *value, cap);
            cell.add_covariate(hash, *taste);
            if kind == MetricKind::Mean {
                cell.add_to_sketch(*value);
            }
        }
        let measure = Measure {
            key: MetricKey(key),
            name: name.to_owned(),
            kind,
            goal,
            cap,
            covariate: Some(0),
            mde: 0.1,
            margin: 0.1,
            source: MeasureSource::Declared { primary },
            guarded: false,
        };
        let arm = |index: usize| ArmInput {
            name: &names[index],
            units: 200,
            whole: Cow::Borrowed(&cells[index]),
            strata: (index == 1)
                .then(|| Stratum {
                    share: 0.5,
                    control: Cow::Borrowed(&cells[0]),
                    candidate: Cow::Borrowed(&cells[1]),
                    paired: false,
                })
                .into_iter()
                .collect(),
        };
        reports.push(metric_report(&MetricInput {
            measure: &measure,
            arms: vec![arm(0), arm(1)],
            min_units: 100,
            observed_s: Some(5_999.0 * 120.0),
        }));
    }
    correct(&mut reports);
    let expected = serde_json::to_value(&reports).unwrap();
    assert_eq!(answer["metrics"], expected);
    assert!(answer["metrics"][0]["variants"][1]["vs_control"]["p"].is_number());
    assert!(answer["metrics"][0]["variants"][1]["vs_control"]["cuped"]["variance_saved"].is_number());
}

#[test]
fn randomised_requests_are_compared_in_pairs() {
    let folder = Folder::new();
    let apart = json(&folder.file("apart.csv", text(&traffic(false))), &[]);
    let paired = json(
        &folder.file("paired.csv", text(&traffic(true))),
        &["--weights", "equal"],
    );
    assert_eq!(paired["randomised"], "requests");
    assert!(
        paired["notes"][0]
            .as_str()
            .unwrap()
            .contains("400 of 400 units (100 %)")
    );
    assert!(
        paired["srm"]["p"]["undefined"]
            .as_str()
            .unwrap()
            .contains("requests were randomised")
    );
    let width = |answer: &Json| {
        let ci = &answer["metrics"][0]["variants"][1]["vs_control"]["ci"];
        ci[1].as_f64().unwrap() - ci[0].as_f64().unwrap()
    };
    // What users differ in is taken out.
    assert!(
        width(&paired) < 0.9 * width(&apart),
        "{} {}",
        width(&paired),
        width(&apart)
    );
    // A stray among hundreds is no randomisation.
    let mut rows = traffic(false);
    rows.push(("u-0".to_owned(), "friendly", "resolved", 1.0, 1_795_000_000, 0.5));
    let strays = json(&folder.file("strays.csv", text(&rows)), &[]);
    assert_eq!(strays["randomised"], "units");
    assert!(
        strays["notes"][0]
            .as_str()
            .unwrap()
            .starts_with("1 of 400 units (0.25 %) are on more")
    );
}

#[test]
fn the_split_is_checked_where_it_is_known() {
    let folder = Folder::new();
    let mut rows = HEADING.to_owned();
    for user in 0..3_000 {
        let variant = if user % 3 == 0 { "friendly" } else { "control" };
        writeln!(rows, "u-{user},{variant},resolved,{}", user % 2).unwrap();
    }
    let file = folder.file("rows.csv", rows);
    let answer = json(&file, &["--weights", "control=2,friendly=1"]);
    assert_eq!(answer["srm"]["verdict"], "ok");
    close(&answer["srm"]["p"], 1.0);
    assert_eq!(answer["srm"]["units"][0]["expected"], 2000.0);
    let answer = json(&file, &["--weights", "equal"]);
    assert_eq!(answer["srm"]["verdict"], "alarm");
    let ran = serin(&[&file, "--weights", "equal"], b"");
    assert!(
        ran.out
            .contains("sample ratio: alarm (p < 0.0001): the variants got other units"),
        "{}",
        ran.out
    );
    fails(
        &[&file, "--weights", "control=1,frendly=1"],
        "--weights: no row is of variant `frendly`",
    );
    fails(
        &[&file, "--weights", "control=1"],
        "--weights: variant `friendly` has none",
    );
}

#[test]
fn bad_rows_are_counted_and_named() {
    let folder = Folder::new();
    let mut bytes = pencil().into_bytes();
    bytes.extend_from_slice(
        b"x,friendly,minutes,soon\nx,friendly,minutes,NaN\n,friendly,minutes,1\nx,friendly,minutes\n",
    );
    bytes.extend_from_slice(b"caf\xe9,friendly,minutes,1\nx,a b,minutes,1\nx,friendly,fallback,0.5\n");
    let file = folder.file("rows.csv", &bytes);
    let answer = json(
        &file,
        &["--min-units", "10", "--metric", "minutes", "--metric", "fallback"],
    );
    assert_eq!(
        (answer["rows"].as_u64(), answer["skipped"].as_u64()),
        (Some(87), Some(7))
    );
    assert_eq!(
        answer["metrics"].as_array().unwrap().len(),
        1,
        "a metric without a good row is none"
    );
    close(
        &answer["metrics"][0]["variants"][1]["vs_control"]["difference"],
        1.0,
    );
    let told = |place: usize| {
        let problem = &answer["problems"][place];
        (
            problem["at"].as_u64().unwrap(),
            problem["column"].as_str().unwrap_or("").to_owned(),
            problem["detail"].as_str().unwrap().to_owned(),
        )
    };
    let allowed = "must be a number, true or false";
    assert_eq!(told(0), (82, "value".into(), format!("is `soon`, but {allowed}")));
    assert_eq!(told(1), (83, "value".into(), "is NaN, but must be finite".into()));
    assert_eq!(told(2), (84, "unit".into(), "is empty".into()));
    assert_eq!(told(3), (85, String::new(), "has 3 fields instead of 4".into()));
    assert_eq!((told(4).0, told(4).1.as_str()), (86, "unit"));
    let ran = serin(&[&file], b"");
    assert_eq!(ran.code, 0);
    assert!(
        ran.out
            .contains("left out: 7 rows that cannot be used\n  line 82: value: is `soon`"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("\n  and 2 more\n"), "{}", ran.out);
    fails(
        &[&file, "--strict"],
        "82: value: is `soon`, but must be a number, true or false; without --strict",
    );
}

#[test]
fn files_that_cannot_be_compared_say_why() {
    let folder = Folder::new();
    let row = "u,control,m,1\n";
    let cases: &[(&[u8], &str)] = &[
        (b"", "is empty: expected a line with the names of the columns"),
        (HEADING.as_bytes(), "has no rows"),
        (
            b"user,variant,metric,value\n",
            "line 1: missing: `unit`; needed are",
        ),
        (b"unit;variant;metric;value\n", "columns are separated by commas"),
        (
            b"unit,unit,variant,metric,value\n",
            "column `unit` is there twice",
        ),
        (
            b"u\xe9nit,variant,metric,value\n",
            "line 1: the names of the columns are not UTF-8",
        ),
        (
            b"unit,variant,metric,value\nu,control,m,x\n",
            "no row can be used:\n  line 2: value: is `x`",
        ),
        (
            b"unit,variant,metric,value\nu,control,m,1\n",
            "has one variant only, `control`: a comparison needs two",
        ),
        (b"\x00\x01\x02\x03", "is neither CSV nor Parquet"),
        (b"\x1f\x8b\x08\x00", "is compressed with gzip: unpack it first"),
        (b"\xff\xfeu\x00n\x00", "is UTF-16: save it as UTF-8"),
        (
            b"PAR1 and then nothing of the kind",
            "is damaged, or no Parquet file",
        ),
    ];
    for (place, (bytes, told)) in cases.iter().enumerate() {
        let file = folder.file(&format!("{place}.csv"), bytes);
        fails(&[&file], told);
        fails(&[&file], &file);
    }
    let open = format!("{HEADING}\"u,control,m,1\n{}", row.repeat(200));
    fails(
        &[&folder.file("quote.csv", open)],
        "line 2: a quote opens and does not close within 100 lines",
    );
    let many: String = (0..300).fold(HEADING.to_owned(), |text, at| {
        text + &format!("u,control,m{at},1\n")
    });
    fails(
        &[&folder.file("many.csv", many)],
        "are the columns what their names say?",
    );
    let none = folder.path("none.csv").display().to_string();
    fails(&[&none], "none.csv: cannot open: No such file");
    fails(&[&folder.0.path().display().to_string()], "is a folder");
    let good = folder.file("good.csv", pencil());
    fails(
        &[&good, "--control", "old"],
        "--control: no variant `old`; there are `control`, `friendly`",
    );
    fails(
        &[&good, "--metric", "hours"],
        "--metric: no metric `hours`; there are `minutes`",
    );
    fails(&[&good, "--goal", "hours=decrease"], "--goal: no metric `hours`");
    fails(&[&good, "--primary", "hours"], "--primary: no metric `hours`");
    fails(
        &[&good, "--plot", "/nowhere/at/all.svg", "--min-units", "9"],
        "cannot write /nowhere/at/all.svg",
    );
    for wrong in [
        &["--goal", "minutes=up"][..],
        &["--kind", "minutes"],
        &["--cap", "minutes=-1"],
        &["--cap", "minutes=5", "--kind", "minutes=rate"],
        &["--mde", "0"],
        &["--weights", "control=0"],
        &["--weights", "a=1,a=2"],
    ] {
        let ran = serin(&[&[good.as_str()], wrong].concat(), b"");
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{wrong:?}: {}", ran.errors);
        assert!(ran.errors.contains("--help"), "{}", ran.errors);
    }
}

#[test]
fn standard_input_and_other_shapes_of_csv_are_read() {
    let folder = Folder::new();
    let file = folder.file("rows.csv", pencil());
    let expected = json(&file, &["--min-units", "10"]);
    let ran = serin(&["-", "--json", "--min-units", "10"], pencil().as_bytes());
    let mut answer: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(answer["file"], "standard input");
    answer["file"] = expected["file"].clone();
    assert_eq!(answer, expected);
    // As a spreadsheet saves it: a mark in front, quotes, carriage returns, other columns.
    let mut other = "\u{feff}Metric,Value,Unit,Comment,Variant\r\n".to_owned();
    for line in pencil().lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        write!(
            other,
            "\"{}\", {},{},\"a, b\",{}\r\n",
            fields[2], fields[3], fields[0], fields[1]
        )
        .unwrap();
    }
    let answer = json(&folder.file("other.csv", other), &["--min-units", "10"]);
    assert_eq!(answer["metrics"], expected["metrics"]);
    // Without a variant named control, the first is.
    let renamed = pencil()
        .replace(",control,", ",old,")
        .replace(",friendly,", ",new,");
    let answer = json(&folder.file("renamed.csv", renamed), &["--min-units", "10"]);
    assert_eq!(answer["control"], "old");
    assert!(
        answer["notes"][0]
            .as_str()
            .unwrap()
            .contains("no variant is named `control`")
    );
    let told = serin(&["-"], b"PAR1");
    assert!(
        told.code == 1 && told.errors.contains("name the file instead of `-`"),
        "{}",
        told.errors
    );
}

fn write_parquet(path: &Path, rows: &[(String, &str, &str, f64, i64, f64)], compression: Compression) {
    let schema = "message rows { REQUIRED BYTE_ARRAY unit (UTF8); OPTIONAL BYTE_ARRAY variant (UTF8);
        REQUIRED BYTE_ARRAY metric (UTF8); REQUIRED DOUBLE value; OPTIONAL INT64 time (TIMESTAMP(MICROS,true));
        REQUIRED BOOLEAN spare; OPTIONAL DOUBLE covariate; }";
    let properties = WriterProperties::builder().set_compression(compression).build();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let bytes = |text: &str| ByteArray::from(text.as_bytes().to_vec());
    // Several row groups, so that their seams are met.
    for rows in rows.chunks(5_000) {
        let there = vec![1; rows.len()];
        let mut group = writer.next_row_group().unwrap();
        macro_rules! column {
            ($kind:ty, $levels:expr, $values:expr) => {{
                let mut column = group.next_column().unwrap().unwrap();
                let values: Vec<_> = $values.collect();
                column
                    .typed::<$kind>()
                    .write_batch(&values, $levels, None)
                    .unwrap();
                column.close().unwrap();
            }};
        }
        column!(ByteArrayType, None, rows.iter().map(|row| bytes(&row.0)));
        column!(ByteArrayType, Some(&there), rows.iter().map(|row| bytes(row.1)));
        column!(ByteArrayType, None, rows.iter().map(|row| bytes(row.2)));
        column!(DoubleType, None, rows.iter().map(|row| row.3));
        column!(Int64Type, Some(&there), rows.iter().map(|row| row.4 * 1_000_000));
        column!(BoolType, None, rows.iter().map(|_| true));
        column!(DoubleType, Some(&there), rows.iter().map(|row| row.5));
        group.close().unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn parquet_and_csv_say_the_same() {
    let folder = Folder::new();
    let rows = traffic(false);
    let mut expected = json(&folder.file("rows.csv", text(&rows)), &[]);
    for (name, compression) in [
        ("plain", Compression::UNCOMPRESSED),
        ("snappy", Compression::SNAPPY),
        ("zstd", Compression::ZSTD(ZstdLevel::default())),
    ] {
        let path = folder.path(&format!("{name}.parquet"));
        write_parquet(&path, &rows, compression);
        let answer = json(&path.display().to_string(), &[]);
        expected["file"] = answer["file"].clone();
        assert_eq!(answer, expected, "{name}");
    }
    let path = folder.path("snappy.parquet");
    let whole = fs::read(&path).unwrap();
    fails(
        &[&folder.file("cut.parquet", &whole[..whole.len() / 2])],
        "is damaged, or no Parquet file",
    );
}

#[test]
fn columns_of_wrong_types_are_named() {
    let folder = Folder::new();
    let path = folder.path("wrong.parquet");
    let schema = "message rows { REQUIRED BYTE_ARRAY unit (UTF8); REQUIRED BYTE_ARRAY variant (UTF8);
        REQUIRED BYTE_ARRAY metric (UTF8); REQUIRED BYTE_ARRAY value (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, Arc::default()).unwrap();
    writer.close().unwrap();
    let file = path.display().to_string();
    fails(&[&file], "column `value` is of type BYTE_ARRAY");
    fails(&[&file], "but must be DOUBLE, FLOAT, INT64, INT32 or BOOLEAN");
}

/// Every element closes, and what is written is there.
fn is_picture(path: &Path, labels: &[&str]) {
    let svg = fs::read_to_string(path).unwrap();
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap());
        }
    }
    assert!(open.is_empty() && svg.starts_with("<svg "), "{open:?}");
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    for label in labels {
        assert!(svg.contains(label), "{label:?} is not in {svg}");
    }
}

#[test]
fn pictures_have_their_labels() {
    let folder = Folder::new();
    let rows = traffic(false);
    let over_time = folder.path("time.svg");
    let file = folder.file("rows.csv", text(&rows));
    json(&file, &["--plot", &over_time.display().to_string()]);
    is_picture(
        &over_time,
        &[
            "resolved over time",
            "friendly − control",
            "percentage points",
            "time (UTC)",
            "always-valid 95 % interval",
            "fixed-size 95 % interval",
            "estimate",
            "no difference",
            "± margin",
            "2026-11-2",
        ],
    );
    json(
        &file,
        &[
            "--plot",
            &over_time.display().to_string(),
            "--primary",
            "latency_ms",
        ],
    );
    is_picture(&over_time, &["latency_ms over time", "difference in latency_ms"]);
    let timeless: String = text(&rows).lines().fold(String::new(), |text, line| {
        let fields: Vec<&str> = line.split(',').collect();
        text + &fields[..4].join(",") + "\n"
    });
    let forest = folder.path("forest.svg");
    let timeless = folder.file(
        "timeless.csv",
        timeless.replace("friendly", "a&b").replace("a&b", "warm"),
    );
    json(&timeless, &["--plot", &forest.display().to_string()]);
    is_picture(
        &forest,
        &[
            "Differences from control",
            "resolved: warm",
            "latency_ms: warm",
            "difference in % of control",
            "± margin",
        ],
    );
    let few = folder.file("few.csv", pencil());
    fails(
        &[&few, "--plot", &forest.display().to_string()],
        "--plot: no metric has an interval yet: collecting",
    );
}

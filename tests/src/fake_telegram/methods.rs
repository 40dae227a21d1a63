//! The methods of the Bot API, and how their answers travel.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::markup::shown_html;
use super::world::{World, chat_json};
use super::{Button, DATE_S, Fault, Outage, Shown, lock};

/// Characters of a message after parsing, counted in UTF-16 units: the strictest reading.
const TEXT_MAX: usize = 4_096;

/// Bytes that a button carries.
const BUTTON_DATA_MAX_BYTES: usize = 64;

/// Characters of the answer to a press.
const PRESS_ANSWER_MAX: usize = 200;

/// Longest poll, as the service cuts it.
const POLL_MAX_S: u64 = 50;

#[derive(Debug, Deserialize)]
struct SendMessage {
    chat_id: Value,
    text: String,
    parse_mode: Option<String>,
    reply_parameters: Option<Reply>,
    reply_markup: Option<Keyboard>,
}

#[derive(Debug, Deserialize)]
struct Reply {
    message_id: i32,
    #[serde(default)]
    allow_sending_without_reply: bool,
}

#[derive(Debug, Default, Deserialize)]
struct Keyboard {
    #[serde(default)]
    inline_keyboard: Vec<Vec<KeyboardButton>>,
}

#[derive(Debug, Deserialize)]
struct KeyboardButton {
    text: String,
    callback_data: Option<String>,
}

#[derive(Debug, Deserialize)]
struct EditReplyMarkup {
    chat_id: Value,
    message_id: i32,
    reply_markup: Option<Keyboard>,
}

#[derive(Debug, Deserialize)]
struct ChatAction {
    chat_id: Value,
    #[serde(rename = "action")]
    _action: String,
}

#[derive(Debug, Deserialize)]
struct AnswerPress {
    callback_query_id: String,
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
struct GetUpdates {
    offset: Option<i64>,
    timeout: Option<u64>,
    limit: Option<usize>,
}

enum Answer {
    Ok(Value),
    No(u16, String, Value),
    Half(Value),
    Lost,
    /// In the words of what stands before the service.
    Plain(u16),
}

pub(super) async fn call(
    State(world): State<Arc<Mutex<World>>>,
    Path((bot, method)): Path<(String, String)>,
    body: axum::body::Bytes,
) -> Response {
    let method = method.to_ascii_lowercase();
    let polls = method == "getupdates";
    if !polls && let Some(slow) = take_slow(&world) {
        tokio::time::sleep(slow).await;
    }
    let at_once = {
        let mut world = lock(&world);
        let refused = early(&mut world, &bot, polls);
        refused.or_else(|| (!polls).then(|| answer(&mut world, &method, &body)))
    };
    let answer = match at_once {
        Some(answer) => answer,
        None => get_updates(&world, &body).await,
    };
    match answer {
        Answer::Ok(result) => Json(json!({"ok": true, "result": result})).into_response(),
        Answer::No(code, description, parameters) => refusal(code, &description, parameters),
        Answer::Plain(code) => (status(code), "<html>upstream</html>").into_response(),
        Answer::Half(result) => half(&json!({"ok": true, "result": result})),
        // unwinding out of the connection's task closes it without an answer
        Answer::Lost => std::panic::resume_unwind(Box::new("the answer is lost")),
    }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn refusal(code: u16, description: &str, parameters: Value) -> Response {
    let mut text = json!({"ok": false, "error_code": code, "description": description});
    let retry_after = parameters.get("retry_after").and_then(Value::as_u64);
    if !parameters.is_null() {
        text["parameters"] = parameters;
    }
    let mut response = (status(code), Json(text)).into_response();
    if let Some(wait) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait));
    }
    response
}

/// A whole answer is promised and half of it sent: the connection then breaks off.
fn half(text: &Value) -> Response {
    let text = text.to_string();
    let mut response = text.as_bytes()[..text.len() / 2].to_vec().into_response();
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    response
}

fn take_slow(world: &Mutex<World>) -> Option<Duration> {
    let mut world = lock(world);
    match world.faults.front() {
        Some(Fault::Slow(slow)) => {
            let slow = *slow;
            world.faults.pop_front();
            Some(slow)
        }
        Some(
            Fault::Flood(_)
            | Fault::Server(_)
            | Fault::Markup
            | Fault::Reset
            | Fault::LostAnswer
            | Fault::HalfAnswer,
        )
        | None => None,
    }
}

fn no(code: u16, description: &str) -> Answer {
    Answer::No(code, description.to_owned(), Value::Null)
}

/// What is answered before the method is looked at.
fn early(world: &mut World, bot: &str, polls: bool) -> Option<Answer> {
    match polls {
        true => world.polls += 1,
        false => world.calls += 1,
    }
    match world.outage {
        Some(Outage::Status(code)) => return Some(Answer::Plain(code)),
        Some(Outage::Resets) => return Some(Answer::Lost),
        None => {}
    }
    let token = bot.strip_prefix("bot");
    let unknown = token.is_none() || (world.token.is_some() && token != world.token.as_deref());
    unknown.then(|| no(401, "Unauthorized"))
}

fn answer(world: &mut World, method: &str, body: &[u8]) -> Answer {
    match method {
        "getme" => {
            Answer::Ok(json!({"id": 1, "is_bot": true, "first_name": "stand-in", "username": "standin_bot",
            "can_join_groups": true, "can_read_all_group_messages": false, "supports_inline_queries": false,
            "has_main_web_app": false, "can_connect_to_business": false}))
        }
        "sendmessage" => match serde_json::from_slice(body) {
            Ok(message) => send_message(world, &message),
            Err(_) => no(400, "Bad Request: message text is empty"),
        },
        "sendchataction" => match serde_json::from_slice::<ChatAction>(body) {
            Ok(action) => {
                open_chat(world, &action.chat_id).map_or_else(|answer| answer, |_| Answer::Ok(json!(true)))
            }
            Err(_) => no(400, "Bad Request: wrong parameter action in request"),
        },
        "editmessagereplymarkup" => match serde_json::from_slice(body) {
            Ok(edit) => edit_reply_markup(world, edit),
            Err(_) => no(400, "Bad Request: message identifier is not specified"),
        },
        "answercallbackquery" => match serde_json::from_slice(body) {
            Ok(press) => answer_press(world, press),
            Err(_) => no(400, "Bad Request: callback query identifier is not specified"),
        },
        _ => no(404, "Not Found: method not found"),
    }
}

/// The chat that a call may write to, or why it may not.
fn open_chat(world: &World, chat_id: &Value) -> Result<i64, Answer> {
    let chat = match chat_id {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let Some(chat) = chat else { return Err(no(400, "Bad Request: chat not found")) };
    if let Some(to) = world.moved.get(&chat) {
        let description = "Bad Request: group chat was upgraded to a supergroup chat".to_owned();
        return Err(Answer::No(400, description, json!({"migrate_to_chat_id": to})));
    }
    if world.token.is_some() && !world.chats.contains_key(&chat) {
        return Err(no(400, "Bad Request: chat not found"));
    }
    if world.blocked.contains(&chat) {
        return Err(no(403, "Forbidden: bot was blocked by the user"));
    }
    Ok(chat)
}

fn send_message(world: &mut World, message: &SendMessage) -> Answer {
    let chat = match open_chat(world, &message.chat_id) {
        Ok(chat) => chat,
        Err(answer) => return answer,
    };
    if let Some(left) = world.flood_left(chat) {
        world.refused_by_flood += 1;
        return too_many(left);
    }
    let fault = world.faults.pop_front();
    match &fault {
        Some(Fault::Flood(wait)) => {
            world.flooded.insert(chat, Instant::now() + *wait);
            return too_many(*wait);
        }
        Some(Fault::Server(code)) => return no(*code, "Bad Gateway"),
        Some(Fault::Reset) => return Answer::Lost,
        Some(Fault::Markup) if message.parse_mode.is_some() => {
            return no(400, "Bad Request: can't parse entities: Unexpected end tag at byte offset 7");
        }
        Some(Fault::Markup | Fault::LostAnswer | Fault::HalfAnswer | Fault::Slow(_)) | None => {}
    }
    if world.refused_text.as_ref().is_some_and(|refused| message.text.contains(refused.as_str())) {
        return no(400, "Bad Request: MESSAGE_TEXT_REFUSED");
    }
    let text = match message.parse_mode.as_deref() {
        Some("HTML") => match shown_html(&message.text) {
            Ok(text) => text,
            Err(why) => return no(400, &format!("Bad Request: can't parse entities: {why}")),
        },
        Some(_) => return no(400, "Bad Request: unsupported parse_mode"),
        None => message.text.clone(),
    };
    if text.trim().is_empty() {
        return no(400, "Bad Request: message text is empty");
    }
    if text.encode_utf16().count() > TEXT_MAX {
        return no(400, "Bad Request: message is too long");
    }
    let buttons = match message.reply_markup.as_ref().map(buttons) {
        None => Vec::new(),
        Some(Ok(buttons)) => buttons,
        Some(Err(answer)) => return answer,
    };
    let messages = world.chats.entry(chat).or_default();
    let said = &world.said;
    let is_there = |number: i32| {
        said.contains(&(chat, number)) || messages.iter().any(|known| known.message_id == number)
    };
    let reply_to = match &message.reply_parameters {
        None => None,
        Some(reply) if is_there(reply.message_id) => Some(reply.message_id),
        Some(reply) if reply.allow_sending_without_reply => None,
        Some(_) => return no(400, "Bad Request: message to be replied not found"),
    };
    let message_id = world.number_message();
    let marked_up = message.parse_mode.is_some();
    let shown = Shown { message_id, text: text.clone(), marked_up, reply_to, buttons };
    world.chats.entry(chat).or_default().push(shown);
    world.took(chat);
    let record = json!({"message_id": message_id, "date": DATE_S, "text": text, "chat": chat_json(chat)});
    match fault {
        Some(Fault::LostAnswer) => Answer::Lost,
        Some(Fault::HalfAnswer) => Answer::Half(record),
        Some(Fault::Flood(_) | Fault::Server(_) | Fault::Reset | Fault::Markup | Fault::Slow(_)) | None => {
            Answer::Ok(record)
        }
    }
}

fn buttons(keyboard: &Keyboard) -> Result<Vec<Button>, Answer> {
    let all = keyboard.inline_keyboard.iter().flatten();
    all.map(|button| match &button.callback_data {
        Some(data) if (1..=BUTTON_DATA_MAX_BYTES).contains(&data.len()) && !button.text.is_empty() => {
            Ok(Button { text: button.text.clone(), data: data.clone() })
        }
        Some(_) => Err(no(400, "Bad Request: BUTTON_DATA_INVALID")),
        None => Err(no(400, "Bad Request: can't parse inline keyboard button: Text buttons are unallowed")),
    })
    .collect()
}

fn edit_reply_markup(world: &mut World, edit: EditReplyMarkup) -> Answer {
    let chat = match open_chat(world, &edit.chat_id) {
        Ok(chat) => chat,
        Err(answer) => return answer,
    };
    let buttons = match buttons(&edit.reply_markup.unwrap_or_default()) {
        Ok(buttons) => buttons,
        Err(answer) => return answer,
    };
    let messages = world.chats.entry(chat).or_default();
    let Some(message) = messages.iter_mut().find(|known| known.message_id == edit.message_id) else {
        return no(400, "Bad Request: message to edit not found");
    };
    if message.buttons == buttons {
        return no(
            400,
            "Bad Request: message is not modified: specified new message content and reply markup are \
             exactly the same as a current content and reply markup of the message",
        );
    }
    message.buttons = buttons;
    Answer::Ok(json!({"message_id": message.message_id, "date": DATE_S, "text": message.text,
        "chat": chat_json(chat)}))
}

fn answer_press(world: &mut World, press: AnswerPress) -> Answer {
    let text = press.text.unwrap_or_default();
    if text.chars().count() > PRESS_ANSWER_MAX {
        return no(400, "Bad Request: MESSAGE_TOO_LONG");
    }
    if !world.presses.remove(&press.callback_query_id) {
        return no(400, "Bad Request: query is too old and response timeout expired or query ID is invalid");
    }
    world.press_answers.push(text);
    Answer::Ok(Value::Bool(true))
}

/// A long poll: ends with updates, with its time, or by another poller.
async fn get_updates(world: &Mutex<World>, body: &[u8]) -> Answer {
    let Ok(wish) = serde_json::from_slice::<GetUpdates>(body) else {
        return no(400, "Bad Request: can't parse the parameters");
    };
    let until = Instant::now() + Duration::from_secs(wish.timeout.unwrap_or(0).min(POLL_MAX_S));
    let (generation, changed) = {
        let mut world = lock(world);
        if let Some(offset) = wish.offset {
            world.updates.retain(|(id, _)| *id >= offset);
        }
        world.polls_changed();
        (world.poll_generation, Arc::clone(&world.changed))
    };
    loop {
        let news = changed.notified();
        tokio::pin!(news);
        news.as_mut().enable();
        {
            let world = lock(world);
            if world.webhook {
                return no(
                    409,
                    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to \
                     delete the webhook first",
                );
            }
            if world.poll_generation != generation {
                return no(
                    409,
                    "Conflict: terminated by other getUpdates request; make sure that only one bot \
                     instance is running",
                );
            }
            if let Some(Outage::Resets) = world.outage {
                return Answer::Lost;
            }
            let limit = wish.limit.unwrap_or(100).clamp(1, 100);
            let updates: Vec<Value> =
                world.updates.iter().take(limit).map(|(_, update)| update.clone()).collect();
            if !updates.is_empty() || Instant::now() >= until {
                return Answer::Ok(Value::Array(updates));
            }
        }
        tokio::select! {
            () = news => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}

/// Seconds are whole and rounded up, as the service does.
fn too_many(wait: Duration) -> Answer {
    let seconds = wait.as_millis().div_ceil(1_000);
    let parameters = json!({ "retry_after": u64::try_from(seconds).unwrap_or(u64::MAX) });
    Answer::No(429, format!("Too Many Requests: retry after {seconds}"), parameters)
}
